// The input as f32, four neighbouring elements at a time: 16 bytes. Its gradient takes its place.

const WANT_GRAD = true;

@group(0) @binding(1) var<storage, read_write> input: array<Bytes16>;

fn read_four(q: u32) -> vec4<u32> {
    return words4(input[q]);
}

fn read_one(i: u32) -> u32 {
    return words4(input[i >> 2u])[i & 3u];
}

fn write_four(q: u32, bits: vec4<u32>) {
    input[q] = bytes16(bits);
}
