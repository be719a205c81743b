// The input as f32 by pairs of aligned quads, beside a gradient of 16-bit elements.

@group(0) @binding(1) var<storage, read> input: array<vec4<u32>>;

// Quads q, which is even, and q + 1. Past the last quad q may be odd: then the pair that holds it, not the next row's.
fn read_pair(q: u32) -> Pair {
    return Pair(input[q & 0xfffffffeu], input[q | 1u]);
}

fn read_quad(q: u32) -> vec4<u32> {
    return input[q];
}

fn read_one(i: u32) -> u32 {
    return input[i >> 2u][i & 3u];
}
