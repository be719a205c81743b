// The input as f32 by pairs of aligned quads.

@group(0) @binding(1) var<storage, read> input: array<Bytes32>;

// Quads q, which is even, and q + 1. Past the last quad q may be odd: then the pair that holds it.
fn read_pair(q: u32) -> Pair {
    return words8(input[q >> 1u]);
}

fn read_quad(q: u32) -> vec4<u32> {
    let pair = read_pair(q);
    return select(pair.a, pair.b, (q & 1u) != 0u);
}

fn read_one(i: u32) -> u32 {
    return read_quad(i >> 2u)[i & 3u];
}
