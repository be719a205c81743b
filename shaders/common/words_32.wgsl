// Tensors in memory, by words of 32 bits; the same interface stands in words_64.wgsl. A type is named by its bytes.

// Two quads.
struct Pair {
    a: vec4<u32>,
    b: vec4<u32>,
}

alias Bytes8 = vec2<u32>;
alias Bytes16 = vec4<u32>;
alias Bytes32 = array<vec4<u32>, 2>;

fn words2(bytes: Bytes8) -> vec2<u32> {
    return bytes;
}

fn words4(bytes: Bytes16) -> vec4<u32> {
    return bytes;
}

fn words8(bytes: Bytes32) -> Pair {
    return Pair(bytes[0], bytes[1]);
}

fn bytes8(words: vec2<u32>) -> Bytes8 {
    return words;
}

fn bytes16(words: vec4<u32>) -> Bytes16 {
    return words;
}

fn bytes32(words: Pair) -> Bytes32 {
    return Bytes32(words.a, words.b);
}
