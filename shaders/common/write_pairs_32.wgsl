// The gradient of the input as f32 by pairs of aligned quads, q even.

@group(0) @binding(5) var<storage, read_write> grad_input: array<Bytes32>;

fn write_pair(q: u32, pair: Pair) {
    grad_input[q >> 1u] = bytes32(pair);
}
