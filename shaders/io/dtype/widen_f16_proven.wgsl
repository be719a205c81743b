// From the 16 bits of an f16 to the bits of the same number as an f32, by the device's own conversion, which is proven exact there:
// for subnormals, infinities and NaN too.

// Of a word, the lower half first.
fn widen_two(word: u32) -> vec2<u32> {
    return bitcast<vec2<u32>>(unpack2x16float(word));
}

// Of two words.
fn widen_words(words: vec2<u32>) -> vec4<u32> {
    return vec4<u32>(widen_two(words.x), widen_two(words.y));
}
