// A weight per class of each row, (N, C, D) like the logits, read one at a time.

@group(0) @binding(3) var<storage, read> weight: array<f32>;

// The row's element of class 0.
var<private> weights_at: u32;

fn open_class_weights(at: u32) {
    weights_at = at;
}

fn class_weight(c: u32) -> f32 {
    return weight[weights_at + c * u.dispatch.inner];
}

// Of four classes; a class past the last one stands for it.
fn class_weights(classes: vec4<u32>) -> vec4<f32> {
    let c = min(classes, vec4<u32>(class_count() - 1u));
    return vec4<f32>(class_weight(c.x), class_weight(c.y), class_weight(c.z), class_weight(c.w));
}
