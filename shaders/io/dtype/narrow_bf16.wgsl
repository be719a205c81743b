// From the bits of an f32 to the 16 bits of the nearest bf16, ties to even.

// In the upper half of the result; the lower one is left over. A NaN stays one by its highest bit, which it has: NaN is made by or-ing
// NAN_BITS.
fn rounded_to_upper(bits: vec4<u32>) -> vec4<u32> {
    let magnitude = bits & vec4<u32>(ABS_BITS);
    let rounded = magnitude + vec4<u32>(0x7fffu) + ((bits >> vec4<u32>(16u)) & vec4<u32>(1u));
    return min(rounded, vec4<u32>(ABS_BITS)) | (bits & vec4<u32>(0x80000000u));
}

// As a word, the lower half first.
fn narrow_two(bits: vec2<u32>) -> u32 {
    return narrow_words(bits.xyxy).x;
}

// As two words.
fn narrow_words(bits: vec4<u32>) -> vec2<u32> {
    let h = rounded_to_upper(bits);
    return (h.xz >> vec2<u32>(16u)) | (h.yw & vec2<u32>(0xffff0000u));
}
