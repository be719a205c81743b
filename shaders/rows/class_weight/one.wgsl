// Weights of classes, read one at a time: for any C.

@group(0) @binding(3) var<storage, read> weight: array<f32>;

fn class_weight(c: u32) -> f32 {
    return weight[c];
}

// Of classes j .. j + 3; classes past the last one repeat the last one.
fn class_weights(j: u32) -> vec4<f32> {
    let c = min(vec4<u32>(j) + IN_FOUR, vec4<u32>(class_count() - 1u));
    return vec4<f32>(class_weight(c.x), class_weight(c.y), class_weight(c.z), class_weight(c.w));
}
