// What a reduction counts, class indices or a mask: eight neighbouring elements at once, where their number is a multiple of 8.

@group(0) @binding(18) var<storage, read> counted: array<Bytes32>;

fn counted_one(i: u32) -> u32 {
    let eight = words8(counted[i >> 3u]);
    return select(eight.a, eight.b, (i & 4u) != 0u)[i & 3u];
}

fn counted_eight(i: u32) -> Eight {
    return words8(counted[i >> 3u]);
}
