// What a reduction counts, class indices or a mask: eight neighbouring elements at once, where their number is a multiple of 8. Past the
// last eight it is repeated.

@group(0) @binding(18) var<storage, read> counted: array<Bytes32>;

fn counted_eight(i: u32) -> Eight {
    return words8(counted[min(i, u.dispatch.item_count - 1u) >> 3u]);
}
