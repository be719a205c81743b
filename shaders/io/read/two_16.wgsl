// The input as f16 or bf16, two neighbouring elements at a time: words, at any place. io/dtype/ says which type it is.

@group(0) @binding(1) var<storage, read> input: array<u32>;

// Elements 2 w and 2 w + 1.
fn read_two(w: u32) -> vec2<u32> {
    return widen_two(input[w]);
}

fn read_one(i: u32) -> u32 {
    let two = read_two(i >> 1u);
    return select(two.x, two.y, (i & 1u) != 0u);
}
