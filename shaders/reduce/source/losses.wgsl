// Source of a reduction: the items' losses in a buffer of our own, which ends with zeros at a multiple of eight.

const BY_EIGHT = true;

@group(0) @binding(8) var<storage, read> losses: array<Bytes32>;

fn eight_items(i: u32) -> Eight {
    let eight = words8(losses[min(i, u.dispatch.item_count - 1u) >> 3u]);
    let exists = vec4<bool>(i < u.dispatch.item_count);
    return Eight(select(vec4<u32>(0u), eight.a, exists), select(vec4<u32>(0u), eight.b, exists));
}

fn item_sum(bits: u32, i: u32) -> PartialSum {
    return sum_of_item(bits, i);
}
