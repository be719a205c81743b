// Source of a reduction: the items' losses in the caller's buffer, written by the kernel of the loss.

const BY_EIGHT = true;

@group(0) @binding(8) var<storage, read> losses: array<u32>;

fn four_losses(i: u32) -> vec4<u32> {
    let k = vec4<u32>(i) + IN_FOUR;
    let at = min(k, vec4<u32>(u.dispatch.item_count - 1u));
    let four = vec4<u32>(losses[at.x], losses[at.y], losses[at.z], losses[at.w]);
    return select(vec4<u32>(0u), four, k < vec4<u32>(u.dispatch.item_count));
}

fn eight_items(i: u32) -> Eight {
    return Eight(four_losses(i), four_losses(i + 4u));
}

fn item_sum(bits: u32, i: u32) -> PartialSum {
    return sum_of_item(bits, i);
}
