// The input as f16 or bf16, four neighbouring elements at a time: 8 bytes. Its gradient takes its place. io/dtype/ says which.

const WANT_GRAD = true;

@group(0) @binding(1) var<storage, read_write> input: array<Bytes8>;

fn read_four(q: u32) -> vec4<u32> {
    return widen_words(words2(input[q]));
}

fn read_one(i: u32) -> u32 {
    let word = words2(input[i >> 2u])[(i >> 1u) & 1u];
    let two = widen_two(word);
    return select(two.x, two.y, (i & 1u) != 0u);
}

fn write_four(q: u32, bits: vec4<u32>) {
    input[q] = bytes8(narrow_words(bits));
}
