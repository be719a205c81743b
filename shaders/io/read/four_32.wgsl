// The input as f32, four neighbouring elements at a time: 16-byte loads. Linked where every four is aligned.
// `read_four` gives the bits of elements 4 q .. 4 q + 3 as f32.

@group(0) @binding(1) var<storage, read> input: array<Bytes16>;

fn read_four(q: u32) -> vec4<u32> {
    return words4(input[q]);
}

fn read_one(i: u32) -> u32 {
    return words4(input[i >> 2u])[i & 3u];
}
