// A value per class as target, read one at a time: for any C and any distance between two classes.
// No row has a class index.

const HAS_TARGET_ROW = true;

@group(0) @binding(2) var<storage, read> target_data: array<u32>;

fn target_index(row: u32) -> u32 {
    return NO_CLASS;
}

// Bits of the values of four classes; a class past the last one stands for it.
fn target_values(at: u32, classes: vec4<u32>) -> vec4<u32> {
    let i = min(classes, vec4<u32>(class_count() - 1u)) * u.dispatch.inner + at;
    return vec4<u32>(target_data[i.x], target_data[i.y], target_data[i.z], target_data[i.w]);
}
