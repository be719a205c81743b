// Source of a reduction: the partial sums that an earlier dispatch left, one per workgroup.

const BY_EIGHT = false;

fn eight_items(i: u32) -> Eight {
    return Eight(vec4<u32>(0u), vec4<u32>(0u));
}

fn item_sum(i: u32) -> PartialSum {
    let at = SUMS_AT + i * SUM_WORDS;
    return PartialSum(bitcast<f32>(work[at]), bitcast<f32>(work[at + 1u]), work[at + 2u], work[at + 3u], work[at + 4u]);
}
