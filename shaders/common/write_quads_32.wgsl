// The gradient of the input as f32, four neighbouring elements at a time: 16-byte stores.

@group(0) @binding(5) var<storage, read_write> grad_input: array<Bytes16>;

fn write_quad(q: u32, bits: vec4<u32>) {
    grad_input[q] = bytes16(bits);
}
