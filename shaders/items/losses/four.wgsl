// What becomes of the items' losses: each is stored, by aligned fours.

@group(0) @binding(8) var<storage, read_write> losses: array<Bytes16>;

fn denominator() -> u32 {
    return bitcast<u32>(u.dispatch.denominator);
}

fn store_losses(i: u32, loss: vec4<u32>) {
    if (WHOLE | (i < u.dispatch.item_count)) {
        losses[i >> 2u] = bytes16(loss);
    }
}

fn store_sum(group: u32, sum: PartialSum, huge: bool) {
}
