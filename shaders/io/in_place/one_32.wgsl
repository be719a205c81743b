// The input as f32, one element at a time, at any place; its gradient takes its place.

const WANT_GRAD = true;
const WORD_ELEMENTS = 1u;

@group(0) @binding(1) var<storage, read_write> input: array<u32>;

fn read_one(i: u32) -> u32 {
    return input[i];
}

fn write_one(i: u32, bits: u32) {
    input[i] = bits;
}

// A word has one element.
fn write_word(w: u32, bits: vec2<u32>) {
    input[w] = bits.x;
}
