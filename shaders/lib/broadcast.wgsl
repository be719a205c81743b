// Where items lie in a tensor that broadcasts to the items' shape.

// Dimensions of the items' shape, neighbours merged: 1 where every tensor is dense or a scalar, which then cost no division.
override RANK: u32 = 4u;

// For items i .. i + 3; items past the last one repeat it.
fn offsets(i: u32, strides: vec4<u32>) -> vec4<u32> {
    let item = min(vec4<u32>(i) + IN_FOUR, vec4<u32>(u.dispatch.item_count - 1u));
    if (RANK <= 1u) {
        return item * strides.w;
    }
    let a = split(item, u.broadcast.dims.w);
    let inner = a.rest * strides.w;
    if (RANK == 2u) {
        return a.whole * strides.z + inner;
    }
    let b = split(a.whole, u.broadcast.dims.z);
    let c = split(b.whole, u.broadcast.dims.y);
    return c.whole * strides.x + c.rest * strides.y + b.rest * strides.z + inner;
}

struct Split {
    whole: vec4<u32>,
    rest: vec4<u32>,
}

// Four numbers from v.x to v.x + 3, divided by a size > 1. Divisions cost much: only v.x is divided, the others carry.
fn split(v: vec4<u32>, by: u32) -> Split {
    let first = v.x / by;
    let over = v - first * by;
    // At most by + 2.
    let carry = select(vec4<u32>(0u), vec4<u32>(1u), over >= vec4<u32>(by))
        + select(vec4<u32>(0u), vec4<u32>(1u), over >= vec4<u32>(2u * by));
    return Split(first + carry, over - carry * by);
}
