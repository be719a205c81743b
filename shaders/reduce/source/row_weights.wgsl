// Source of a reduction: what each row counts in the denominator of the mean, where only its own weight says so.

const BY_EIGHT = true;

fn counts_of(i: u32) -> vec4<u32> {
    let k = min(vec4<u32>(i) + IN_FOUR, vec4<u32>(u.dispatch.item_count - 1u));
    let four = vec4<u32>(counts(0u, k.x), counts(0u, k.y), counts(0u, k.z), counts(0u, k.w));
    return select(vec4<u32>(0u), four, vec4<u32>(i) + IN_FOUR < vec4<u32>(u.dispatch.item_count));
}

fn eight_items(i: u32) -> Eight {
    return Eight(counts_of(i), counts_of(i + 4u));
}

fn item_sum(i: u32) -> PartialSum {
    return sum_of_item(counts(0u, i), i);
}
