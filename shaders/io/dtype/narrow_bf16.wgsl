// From the bits of an f32 to the 16 bits of the nearest bf16, ties to even.

fn narrow(bits: vec4<u32>) -> vec4<u32> {
    let upper = bits >> vec4<u32>(16u);
    let rounded = (bits + vec4<u32>(0x7fffu) + (upper & vec4<u32>(1u))) >> vec4<u32>(16u);
    // Rounding could carry a NaN's fraction away: it stays one by its highest bit.
    return select(rounded, upper | vec4<u32>(0x0040u), (bits & vec4<u32>(ABS_BITS)) > vec4<u32>(INF_BITS));
}

// As two words, the lower half first.
fn narrow_words(bits: vec4<u32>) -> vec2<u32> {
    let h = narrow(bits);
    return h.xz | (h.yw << vec2<u32>(16u));
}
