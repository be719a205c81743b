// What a reduction counts, class indices or a mask: eight neighbouring elements, for any number of them. Those past the last repeat it.

@group(0) @binding(18) var<storage, read> counted: array<u32>;

fn counted_four(i: u32) -> vec4<u32> {
    let k = min(vec4<u32>(i) + IN_FOUR, vec4<u32>(u.dispatch.item_count - 1u));
    return vec4<u32>(counted[k.x], counted[k.y], counted[k.z], counted[k.w]);
}

fn counted_eight(i: u32) -> Eight {
    return Eight(counted_four(i), counted_four(i + 4u));
}
