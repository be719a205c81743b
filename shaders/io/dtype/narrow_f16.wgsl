// From the bits of an f32 to the 16 bits of the nearest f16, ties to even; beyond 65 520 infinite. By integers: WGSL promises no
// rounding mode, and nothing for what leaves the range.

fn narrow(bits: vec4<u32>) -> vec4<u32> {
    let magnitude = bits & vec4<u32>(ABS_BITS);
    let moved = magnitude - vec4<u32>(0x38000000u);
    let rounded = (moved + vec4<u32>(0x0fffu) + ((moved >> vec4<u32>(13u)) & vec4<u32>(1u))) >> vec4<u32>(13u);
    // Below 2^-14: next to 1/2 the spacing of f32 is 2^-24, which is that of subnormal f16.
    let small = min(magnitude, vec4<u32>(0x38800000u));
    let tiny = bitcast<vec4<u32>>(bitcast<vec4<f32>>(small) + 0.5) - vec4<u32>(0x3f000000u);
    var h = select(rounded, tiny, magnitude < vec4<u32>(0x38800000u));
    h = select(h, vec4<u32>(0x7c00u), magnitude >= vec4<u32>(0x477ff000u));
    h = select(h, vec4<u32>(0x7e00u), magnitude > vec4<u32>(INF_BITS));
    return h | ((bits >> vec4<u32>(16u)) & vec4<u32>(0x8000u));
}

// As a word, the lower half first.
fn narrow_two(bits: vec2<u32>) -> u32 {
    return narrow_words(bits.xyxy).x;
}

// As two words.
fn narrow_words(bits: vec4<u32>) -> vec2<u32> {
    let h = narrow(bits);
    return h.xz | (h.yw << vec2<u32>(16u));
}
