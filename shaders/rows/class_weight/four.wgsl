// Weights of classes, read by aligned fours: C is a multiple of 4.

@group(0) @binding(3) var<storage, read> weight: array<vec4<f32>>;

fn class_weight(c: u32) -> f32 {
    return weight[c >> 2u][c & 3u];
}

// Of classes j .. j + 3; a four past the row's end repeats the last one.
fn class_weights(j: u32) -> vec4<f32> {
    return weight[min(j, class_count() - 4u) >> 2u];
}
