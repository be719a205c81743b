// Source of a reduction: the items' losses in a buffer of our own, which ends with zeros at a whole number of eights.

const BY_EIGHTS = true;

@group(0) @binding(3) var<storage, read> items: array<Bytes32>;

fn read_eight(i: u32) -> Pair {
    return words8(items[i >> 3u]);
}

fn read_item(i: u32) -> Record {
    let eight = read_eight(i);
    return item_record(select(eight.a, eight.b, (i & 4u) != 0u)[i & 3u], i);
}
