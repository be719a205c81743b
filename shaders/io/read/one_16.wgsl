// The input as f16 or bf16, one element at a time, at any place. io/dtype/ says which type it is.

@group(0) @binding(1) var<storage, read> input: array<u32>;

fn read_one(i: u32) -> u32 {
    return widen(vec4<u32>((input[i >> 1u] >> ((i & 1u) << 4u)) & 0xffffu)).x;
}
