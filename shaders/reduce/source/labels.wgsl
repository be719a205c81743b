// Source of a reduction: what each row counts in the denominator of the mean, by its class index.

const BY_EIGHT = true;

fn counts_of(labels: vec4<u32>, i: u32) -> vec4<u32> {
    let k = min(vec4<u32>(i) + IN_FOUR, vec4<u32>(u.dispatch.item_count - 1u));
    return select(vec4<u32>(0u), counts_of_four(labels, k), vec4<u32>(i) + IN_FOUR < vec4<u32>(u.dispatch.item_count));
}

fn eight_items(i: u32) -> Eight {
    let labels = counted_eight(i);
    return Eight(counts_of(labels.a, i), counts_of(labels.b, i + 4u));
}

fn item_sum(bits: u32, i: u32) -> PartialSum {
    return sum_of_item(bits, i);
}
