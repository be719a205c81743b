// The gradient of the input as f16 or bf16 by aligned eights, q even: 16-byte stores. io/dtype/ says which type it is.

const WANT_GRAD = true;

@group(0) @binding(10) var<storage, read_write> grad_input: array<Bytes16>;

fn write_eight(q: u32, bits: Eight) {
    grad_input[q >> 1u] = bytes16(vec4<u32>(narrow_words(bits.a), narrow_words(bits.b)));
}
