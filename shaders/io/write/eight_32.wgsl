// The gradient of the input as f32 by aligned eights, q even.

const WANT_GRAD = true;

@group(0) @binding(10) var<storage, read_write> grad_input: array<Bytes32>;

fn write_eight(q: u32, bits: Eight) {
    grad_input[q >> 1u] = bytes32(bits);
}
