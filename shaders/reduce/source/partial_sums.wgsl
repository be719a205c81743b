// Source of a reduction: the partial sums that an earlier dispatch left, one per workgroup.

const BY_EIGHT = false;

fn eight_items(i: u32) -> Eight {
    return Eight(vec4<u32>(0u), vec4<u32>(0u));
}

fn item_sum(bits: u32, i: u32) -> PartialSum {
    // Read whether it exists or not: loads under a condition would wait for each other.
    let at = SUMS_AT + min(i, u.dispatch.item_count - 1u) * SUM_WORDS;
    let sum = PartialSum(
        bitcast<f32>(work[at]), bitcast<f32>(work[at + 1u]), work[at + 2u], work[at + 3u], work[at + 4u]);
    if (i < u.dispatch.item_count) {
        return sum;
    }
    return empty_sum();
}
