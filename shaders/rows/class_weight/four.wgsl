// Weights of classes, read by aligned fours: C is a multiple of 4.

@group(0) @binding(3) var<storage, read> weight: array<vec4<f32>>;

fn open_class_weights(at: u32) {
}

fn class_weight(c: u32) -> f32 {
    return weight[c >> 2u][c & 3u];
}

// Of four neighbouring classes; a four past the row's end stands for the last one.
fn class_weights(classes: vec4<u32>) -> vec4<f32> {
    return weight[min(classes.x, class_count() - 4u) >> 2u];
}
