// The input as f16 or bf16 by pairs of aligned quads: 16-byte loads. widen_*.wgsl says which type it is.

@group(0) @binding(1) var<storage, read> input: array<Bytes16>;

// Quads q, which is even, and q + 1. Past the last quad q may be odd: then the pair that holds it.
fn read_pair(q: u32) -> Pair {
    let words = words4(input[q >> 1u]);
    return Pair(widen_words(words.xy), widen_words(words.zw));
}

fn read_quad(q: u32) -> vec4<u32> {
    let words = words4(input[q >> 1u]);
    return widen_words(select(words.xy, words.zw, (q & 1u) != 0u));
}

fn read_one(i: u32) -> u32 {
    return read_quad(i >> 2u)[i & 3u];
}
