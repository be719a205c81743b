// The input as f32 by aligned eights; its gradient takes its place.

const WANT_GRAD = true;

@group(0) @binding(1) var<storage, read_write> input: array<Bytes32>;

// Fours q, which is even, and q + 1. Past the last four q may be odd: then the eight that holds it.
fn read_eight(q: u32) -> Eight {
    return words8(input[q >> 1u]);
}

fn read_four(q: u32) -> vec4<u32> {
    let both = read_eight(q);
    return select(both.a, both.b, (q & 1u) != 0u);
}

fn read_one(i: u32) -> u32 {
    return read_four(i >> 2u)[i & 3u];
}

fn write_eight(q: u32, bits: Eight) {
    input[q >> 1u] = bytes32(bits);
}
