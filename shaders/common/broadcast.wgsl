// Where item i lies in a tensor that broadcasts to the items' shape.

// For items i .. i + 3; items past the last one repeat it.
fn offsets(i: u32, strides: vec4<u32>) -> vec4<u32> {
    let item = min(vec4<u32>(i) + IN_QUAD, vec4<u32>(u.frame.item_count - 1u));
    let d = u.broadcast.dims;
    let a = item / d.w;
    let b = a / d.z;
    let c = b / d.y;
    return c * strides.x + (b - c * d.y) * strides.y + (a - b * d.z) * strides.z + (item - a * d.w) * strides.w;
}
