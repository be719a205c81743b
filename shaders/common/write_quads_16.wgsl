// The gradient of the input as f16 or bf16, four neighbouring elements at a time: 8-byte stores. narrow_*.wgsl says which type.

@group(0) @binding(5) var<storage, read_write> grad_input: array<Bytes8>;

fn write_quad(q: u32, bits: vec4<u32>) {
    grad_input[q] = bytes8(narrow_words(bits));
}
