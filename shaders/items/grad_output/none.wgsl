// The upstream gradient is 1.

// Of all items.
fn upstream() -> f32 {
    return 1.0;
}

// What items i .. i + 3 have besides.
fn upstream_four(i: u32) -> vec4<f32> {
    return vec4<f32>(1.0);
}
