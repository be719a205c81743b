// What becomes of the items' losses: each is stored, one at a time.

@group(0) @binding(8) var<storage, read_write> losses: array<u32>;

fn denominator() -> u32 {
    return bitcast<u32>(u.dispatch.denominator);
}

fn store_losses(i: u32, loss: vec4<u32>) {
    if (i >= u.dispatch.item_count) {
        return;
    }
    let left = u.dispatch.item_count - i;
    losses[i] = loss.x;
    if (left > 1u) {
        losses[i + 1u] = loss.y;
    }
    if (left > 2u) {
        losses[i + 2u] = loss.z;
    }
    if (left > 3u) {
        losses[i + 3u] = loss.w;
    }
}

fn store_sum(group: u32, sum: PartialSum, huge: bool) {
}
