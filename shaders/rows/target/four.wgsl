// A value per class as target, read by aligned fours: C is a multiple of 4 and the class axis last.
// No row has a class index.

@group(0) @binding(2) var<storage, read> target_data: array<Bytes16>;

fn target_index(row: u32) -> u32 {
    return NO_CLASS;
}

// Bits of the values of classes j .. j + 3; a four past the row's end repeats the last one.
fn target_four(at: u32, j: u32) -> vec4<u32> {
    return words4(target_data[(at + min(j, class_count() - 4u)) >> 2u]);
}
