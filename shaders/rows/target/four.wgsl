// A value per class as target, read by aligned fours: C is a multiple of 4 and the class axis last.
// No row has a class index.

const HAS_TARGET_ROW = true;

@group(0) @binding(2) var<storage, read> target_data: array<Bytes16>;

fn target_index(row: u32) -> u32 {
    return NO_CLASS;
}

// Bits of the values of four neighbouring classes; a four past the row's end stands for the last one.
fn target_values(at: u32, classes: vec4<u32>) -> vec4<u32> {
    return words4(target_data[(at + min(classes.x, class_count() - 4u)) >> 2u]);
}
