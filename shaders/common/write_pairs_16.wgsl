// The gradient of the input as f16 or bf16 by pairs of aligned quads, q even: 16-byte stores. narrow_*.wgsl says which type it is.

@group(0) @binding(5) var<storage, read_write> grad_input: array<Bytes16>;

fn write_pair(q: u32, pair: Pair) {
    grad_input[q >> 1u] = bytes16(vec4<u32>(narrow_words(pair.a), narrow_words(pair.b)));
}
