// Source of a reduction: what each item counts in the denominator of the mean where a mask excludes some.

const BY_EIGHT = true;

fn counts_of(masked: vec4<u32>, i: u32) -> vec4<u32> {
    let exists = vec4<u32>(i) + IN_FOUR < vec4<u32>(u.dispatch.item_count);
    return select(vec4<u32>(0u), vec4<u32>(0x3f800000u), (masked == vec4<u32>(0u)) & exists);
}

fn eight_items(i: u32) -> Eight {
    let masked = counted_eight(i);
    return Eight(counts_of(masked.a, i), counts_of(masked.b, i + 4u));
}

fn item_sum(bits: u32, i: u32) -> PartialSum {
    return sum_of_item(bits, i);
}
