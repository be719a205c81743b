// The gradient of the input as f32, one element at a time, at any place.

const WANT_GRAD = true;

@group(0) @binding(10) var<storage, read_write> grad_input: array<u32>;

fn write_one(i: u32, bits: u32) {
    grad_input[i] = bits;
}
