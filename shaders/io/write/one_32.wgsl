// The gradient of the input as f32, one element at a time, at any place.

const WANT_GRAD = true;
const WORD_ELEMENTS = 1u;

@group(0) @binding(10) var<storage, read_write> grad_input: array<u32>;

fn write_one(i: u32, bits: u32) {
    grad_input[i] = bits;
}

// A word has one element.
fn write_word(w: u32, bits: vec2<u32>) {
    grad_input[w] = bits.x;
}
