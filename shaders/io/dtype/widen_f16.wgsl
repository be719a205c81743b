// From the 16 bits of an f16 to the bits of the same number as an f32, by integers: exact for subnormals, infinities and NaN
// whatever the device does with them, and no need for the feature SHADER_F16.

fn widen(h: vec4<u32>) -> vec4<u32> {
    let magnitude = h & vec4<u32>(0x7fffu);
    // The exponents' biases differ by 112; an exponent of all ones stays one.
    let bias = select(vec4<u32>(0x38000000u), vec4<u32>(0x70000000u), magnitude >= vec4<u32>(0x7c00u));
    // A subnormal is its bits times 2^-24.
    let tiny = bitcast<vec4<u32>>(vec4<f32>(magnitude) * 0x1p-24f);
    let bits = select((magnitude << vec4<u32>(13u)) + bias, tiny, magnitude < vec4<u32>(0x0400u));
    return bits | ((h & vec4<u32>(0x8000u)) << vec4<u32>(16u));
}

// Of a word, the lower half first.
fn widen_two(word: u32) -> vec2<u32> {
    return widen_words(vec2<u32>(word)).xy;
}

// Of two words.
fn widen_words(words: vec2<u32>) -> vec4<u32> {
    return widen(vec4<u32>(words & vec2<u32>(0xffffu), words >> vec2<u32>(16u)).xzyw);
}
