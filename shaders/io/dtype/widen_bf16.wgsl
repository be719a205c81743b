// From the 16 bits of a bf16 to the bits of the same number as an f32, whose upper half they are.

// Of a word, the lower half first.
fn widen_two(word: u32) -> vec2<u32> {
    return vec2<u32>(word << 16u, word & 0xffff0000u);
}

// Of two words.
fn widen_words(words: vec2<u32>) -> vec4<u32> {
    return vec4<u32>(words << vec2<u32>(16u), words & vec2<u32>(0xffff0000u)).xzyw;
}
