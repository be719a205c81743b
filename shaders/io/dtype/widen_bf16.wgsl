// From the 16 bits of a bf16 to the bits of the same number as an f32, whose upper half they are.

fn widen(h: vec4<u32>) -> vec4<u32> {
    return h << vec4<u32>(16u);
}

// Of two words, the lower half first.
fn widen_words(words: vec2<u32>) -> vec4<u32> {
    return vec4<u32>(words << vec2<u32>(16u), words & vec2<u32>(0xffff0000u)).xzyw;
}
