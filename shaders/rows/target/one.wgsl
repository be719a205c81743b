// A value per class as target, read one at a time: for any C and any distance between two classes.
// No row has a class index.

@group(0) @binding(2) var<storage, read> target_data: array<u32>;

fn target_index(row: u32) -> u32 {
    return NO_CLASS;
}

// Bits of the values of classes j .. j + 3; classes past the last one repeat the last one.
fn target_four(at: u32, j: u32) -> vec4<u32> {
    let c = min(vec4<u32>(j) + IN_FOUR, vec4<u32>(class_count() - 1u)) * u.dispatch.inner + at;
    return vec4<u32>(target_data[c.x], target_data[c.y], target_data[c.z], target_data[c.w]);
}
