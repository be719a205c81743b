// Source of a reduction: the items' losses in a buffer of our own, which ends at a multiple of eight. Nobody writes what is past them.

const BY_EIGHT = true;

@group(0) @binding(8) var<storage, read> losses: array<Bytes32>;

fn eight_items(i: u32) -> Eight {
    let eight = words8(losses[min(i, u.dispatch.item_count - 1u) >> 3u]);
    let k = vec4<u32>(i) + IN_FOUR;
    let count = vec4<u32>(u.dispatch.item_count);
    return Eight(select(vec4<u32>(0u), eight.a, k < count), select(vec4<u32>(0u), eight.b, k + 4u < count));
}

fn item_sum(bits: u32, i: u32) -> PartialSum {
    return sum_of_item(bits, i);
}
