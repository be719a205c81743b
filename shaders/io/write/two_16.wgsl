// The gradient of the input as f16 or bf16, two neighbouring elements at a time: words, at any place. io/dtype/ says which type it is.
//
// WGSL stores no less than 32 bits, and the two halves of a word may belong to different invocations. Each replaces its own half,
// atomically: the word ends up the same in whichever order they come.

const WANT_GRAD = true;
const WORD_ELEMENTS = 2u;

@group(0) @binding(10) var<storage, read_write> grad_input: array<atomic<u32>>;

// Elements 2 w and 2 w + 1, both this invocation's.
fn write_word(w: u32, bits: vec2<u32>) {
    atomicStore(&grad_input[w], narrow_two(bits));
}

fn write_one(i: u32, bits: u32) {
    let shift = (i & 1u) << 4u;
    atomicAnd(&grad_input[i >> 1u], 0xffff0000u >> shift);
    atomicOr(&grad_input[i >> 1u], (narrow_two(vec2<u32>(bits, 0u)) & 0xffffu) << shift);
}
