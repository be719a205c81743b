// Weights of classes, read by aligned quads: C is a multiple of 4.
// The same interface stands in class_weight_scalar.wgsl.

@group(0) @binding(3) var<storage, read> weight: array<vec4<f32>>;

fn class_weight(c: u32) -> f32 {
    if (HAS_WEIGHT) {
        return weight[c >> 2u][c & 3u];
    }
    return 1.0;
}

// Of classes j .. j + 3; a quad past the row's end repeats the last one.
fn class_weights(j: u32) -> vec4<f32> {
    if (HAS_WEIGHT) {
        return weight[min(j, class_count() - 4u) >> 2u];
    }
    return vec4<f32>(1.0);
}
