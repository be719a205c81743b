// Tensors of the items' own shape, by pairs of aligned quads; their number is a multiple of 8 and nothing is broadcast.

@group(0) @binding(2) var<storage, read> expected: array<Bytes32>;
@group(0) @binding(6) var<storage, read_write> grad_second: array<Bytes32>;

// A lane takes neighbouring quads.
fn lane_start(start: u32) -> u32 {
    return start + 2u * lane;
}

fn lane_quads(q: u32) -> vec2<u32> {
    return vec2<u32>(q, q + 1u);
}

fn load_input(quads: vec2<u32>) -> Pair {
    return read_pair(quads.x);
}

fn load_target(quads: vec2<u32>) -> Pair {
    return words8(expected[quads.x >> 1u]);
}

fn store_grad_input(quads: vec2<u32>, bits: Pair) {
    write_pair(quads.x, bits);
}

fn store_grad_second(quads: vec2<u32>, bits: Pair) {
    grad_second[quads.x >> 1u] = bytes32(bits);
}
