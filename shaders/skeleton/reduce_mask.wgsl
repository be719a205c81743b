// Source of a reduction: what each item counts in the denominator of the mean where a mask excludes some.

const BY_EIGHTS = true;

fn counts(masked: vec4<u32>, i: u32) -> vec4<u32> {
    let some = vec4<u32>(i) + IN_QUAD < vec4<u32>(u.frame.item_count);
    return select(vec4<u32>(0u), vec4<u32>(0x3f800000u), (masked == vec4<u32>(0u)) & some);
}

fn read_eight(i: u32) -> Pair {
    let masked = input_eight(i);
    return Pair(counts(masked.a, i), counts(masked.b, i + 4u));
}

fn read_item(i: u32) -> Record {
    return item_record(counts(vec4<u32>(read_one(i)), i).x, i);
}
