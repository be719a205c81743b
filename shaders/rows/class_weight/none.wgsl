// Every class weighs 1.

// Where weights differ from row to row, whose are read from here on.
fn open_class_weights(at: u32) {
}

fn class_weight(c: u32) -> f32 {
    return 1.0;
}

fn class_weights(classes: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(1.0);
}
