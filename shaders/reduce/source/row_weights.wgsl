// Source of a reduction: what each row counts in the denominator of the mean, where only its own weight says so.

const BY_EIGHT = true;

fn counts_of(i: u32) -> vec4<u32> {
    let k = min(vec4<u32>(i) + IN_FOUR, vec4<u32>(u.dispatch.item_count - 1u));
    return select(vec4<u32>(0u), counts_of_four(vec4<u32>(0u), k), vec4<u32>(i) + IN_FOUR < vec4<u32>(u.dispatch.item_count));
}

fn eight_items(i: u32) -> Eight {
    return Eight(counts_of(i), counts_of(i + 4u));
}

fn item_sum(bits: u32, i: u32) -> PartialSum {
    return sum_of_item(bits, i);
}
