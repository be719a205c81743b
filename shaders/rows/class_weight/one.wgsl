// Weights of classes, read one at a time: for any C.

@group(0) @binding(3) var<storage, read> weight: array<f32>;

fn open_class_weights(at: u32) {
}

fn class_weight(c: u32) -> f32 {
    return weight[c];
}

// Of four classes; a class past the last one stands for it.
fn class_weights(classes: vec4<u32>) -> vec4<f32> {
    let c = min(classes, vec4<u32>(class_count() - 1u));
    return vec4<f32>(class_weight(c.x), class_weight(c.y), class_weight(c.z), class_weight(c.w));
}
