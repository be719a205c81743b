// The input as f16 or bf16 by aligned eights: 16 bytes. Its gradient takes its place. io/dtype/ says which type it is.

const WANT_GRAD = true;

@group(0) @binding(1) var<storage, read_write> input: array<Bytes16>;

// Fours q, which is even, and q + 1. Past the last four q may be odd: then the eight that holds it.
fn read_eight(q: u32) -> Eight {
    let words = words4(input[q >> 1u]);
    return Eight(widen_words(words.xy), widen_words(words.zw));
}

fn read_four(q: u32) -> vec4<u32> {
    let words = words4(input[q >> 1u]);
    return widen_words(select(words.xy, words.zw, (q & 1u) != 0u));
}

fn read_one(i: u32) -> u32 {
    return read_four(i >> 2u)[i & 3u];
}

fn write_eight(q: u32, bits: Eight) {
    input[q >> 1u] = bytes16(vec4<u32>(narrow_words(bits.a), narrow_words(bits.b)));
}
