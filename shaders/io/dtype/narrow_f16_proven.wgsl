// From the bits of an f32 to the 16 bits of the nearest f16, ties to even; beyond 65 520 infinite. By the device's own conversion,
// which is proven to round so there, and to keep NaN.

// As a word, the lower half first.
fn narrow_two(bits: vec2<u32>) -> u32 {
    return pack2x16float(bitcast<vec2<f32>>(bits));
}

// As two words.
fn narrow_words(bits: vec4<u32>) -> vec2<u32> {
    return vec2<u32>(narrow_two(bits.xy), narrow_two(bits.zw));
}
