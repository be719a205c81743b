// Tensors in memory, by words of 64 bits. Software adapters fetch and store a vector's components one by one, each with checks of its
// own, so they do half the work here. Linked for those of them that have 64-bit integers.

// Two fours.
struct Eight {
    a: vec4<u32>,
    b: vec4<u32>,
}

alias Bytes8 = u64;
alias Bytes16 = vec2<u64>;
alias Bytes32 = vec4<u64>;

fn words2(bytes: Bytes8) -> vec2<u32> {
    return vec2<u32>(u32(bytes), u32(bytes >> 32u));
}

fn words4(bytes: Bytes16) -> vec4<u32> {
    return vec4<u32>(words2(bytes.x), words2(bytes.y));
}

fn words8(bytes: Bytes32) -> Eight {
    return Eight(words4(bytes.xy), words4(bytes.zw));
}

fn bytes8(words: vec2<u32>) -> Bytes8 {
    return u64(words.x) | (u64(words.y) << 32u);
}

fn bytes16(words: vec4<u32>) -> Bytes16 {
    return Bytes16(bytes8(words.xy), bytes8(words.zw));
}

fn bytes32(words: Eight) -> Bytes32 {
    return Bytes32(bytes16(words.a), bytes16(words.b));
}
