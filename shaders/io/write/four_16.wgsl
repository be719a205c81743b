// The gradient of the input as f16 or bf16, four neighbouring elements at a time: 8-byte stores. io/dtype/ says which.

const WANT_GRAD = true;

@group(0) @binding(10) var<storage, read_write> grad_input: array<Bytes8>;

fn write_four(q: u32, bits: vec4<u32>) {
    grad_input[q] = bytes8(narrow_words(bits));
}
