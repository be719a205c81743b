// The input as f16 or bf16, two neighbouring elements at a time: words, at any place. Its gradient takes its place. io/dtype/ says
// which type it is.
//
// The two halves of a word may belong to different invocations, one of which reads its half while the other replaces its own. Both do
// so atomically: nobody but its invocation changes a half.

const WANT_GRAD = true;
const WORD_ELEMENTS = 2u;

@group(0) @binding(1) var<storage, read_write> input: array<atomic<u32>>;

// Elements 2 w and 2 w + 1.
fn read_two(w: u32) -> vec2<u32> {
    return widen_two(atomicLoad(&input[w]));
}

fn read_one(i: u32) -> u32 {
    let two = read_two(i >> 1u);
    return select(two.x, two.y, (i & 1u) != 0u);
}

// Elements 2 w and 2 w + 1, both this invocation's.
fn write_word(w: u32, bits: vec2<u32>) {
    atomicStore(&input[w], narrow_two(bits));
}

fn write_one(i: u32, bits: u32) {
    let shift = (i & 1u) << 4u;
    atomicAnd(&input[i >> 1u], 0xffff0000u >> shift);
    atomicOr(&input[i >> 1u], (narrow_two(vec2<u32>(bits, 0u)) & 0xffffu) << shift);
}
