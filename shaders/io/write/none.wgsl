// The gradient of the input is not wanted.

const WANT_GRAD = false;
const WORD_ELEMENTS = 1u;

fn write_one(i: u32, bits: u32) {
}

fn write_four(q: u32, bits: vec4<u32>) {
}

fn write_eight(q: u32, bits: Eight) {
}

fn write_word(w: u32, bits: vec2<u32>) {
}
