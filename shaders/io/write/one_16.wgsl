// The gradient of the input as f16 or bf16, one element at a time, at any place. io/dtype/ says which type it is.
//
// WGSL stores no less than 32 bits, and the two halves of a word may belong to different invocations. Each replaces its own half,
// atomically: the word ends up the same in whichever order they come.

const WANT_GRAD = true;

@group(0) @binding(10) var<storage, read_write> grad_input: array<atomic<u32>>;

fn write_one(i: u32, bits: u32) {
    let shift = (i & 1u) << 4u;
    atomicAnd(&grad_input[i >> 1u], 0xffff0000u >> shift);
    atomicOr(&grad_input[i >> 1u], narrow(vec4<u32>(bits)).x << shift);
}
