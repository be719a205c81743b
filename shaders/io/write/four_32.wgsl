// The gradient of the input as f32, four neighbouring elements at a time: 16-byte stores.

const WANT_GRAD = true;

@group(0) @binding(10) var<storage, read_write> grad_input: array<Bytes16>;

fn write_four(q: u32, bits: vec4<u32>) {
    grad_input[q] = bytes16(bits);
}
