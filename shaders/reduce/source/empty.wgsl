// Source of a reduction: an empty batch.

const BY_EIGHT = false;

fn item_sum(bits: u32, i: u32) -> PartialSum {
    return empty_sum();
}

fn eight_items(i: u32) -> Eight {
    return Eight(vec4<u32>(0u), vec4<u32>(0u));
}
