// Tensors in memory, by words of 32 bits. A type is named by its bytes.

// Two fours.
struct Eight {
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

fn words8(bytes: Bytes32) -> Eight {
    return Eight(bytes[0], bytes[1]);
}

fn bytes8(words: vec2<u32>) -> Bytes8 {
    return words;
}

fn bytes16(words: vec4<u32>) -> Bytes16 {
    return words;
}

fn bytes32(words: Eight) -> Bytes32 {
    return Bytes32(words.a, words.b);
}
