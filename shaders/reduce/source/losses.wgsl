// Source of a reduction: the items' losses in a buffer of our own, which ends with zeros at a multiple of eight.

const BY_EIGHT = true;

@group(0) @binding(8) var<storage, read> losses: array<Bytes32>;

fn eight_items(i: u32) -> Eight {
    return words8(losses[i >> 3u]);
}

fn item_sum(i: u32) -> PartialSum {
    let eight = eight_items(i);
    return sum_of_item(select(eight.a, eight.b, (i & 4u) != 0u)[i & 3u], i);
}
