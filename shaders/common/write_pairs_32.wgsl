// The gradient of the input as f32 by pairs of aligned quads, beside an input of 16-bit elements.

@group(0) @binding(5) var<storage, read_write> grad_input: array<vec4<u32>>;

fn write_pair(q: u32, pair: Pair) {
    grad_input[q] = pair.a;
    grad_input[q + 1u] = pair.b;
}
