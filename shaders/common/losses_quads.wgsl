// What becomes of the items' losses: each is stored, and has its own upstream gradient; by aligned quads.
//
//   grad_output, out   like the items

@group(0) @binding(4) var<storage, read> grad_output: array<Bytes16>;
@group(0) @binding(7) var<storage, read_write> out: array<Bytes16>;

fn denominator() -> f32 {
    return u.frame.denominator;
}

fn upstream() -> f32 {
    return 1.0;
}

fn upstream_quad(i: u32) -> vec4<f32> {
    if (HAS_GRAD_OUTPUT) {
        return bitcast<vec4<f32>>(words4(grad_output[min(i >> 2u, last_quad())]));
    }
    return vec4<f32>(1.0);
}

fn store_losses(i: u32, loss: vec4<u32>) {
    if (i < u.frame.item_count) {
        out[i >> 2u] = bytes16(loss);
    }
}

fn store_record(group: u32, record: Record, huge: bool) {
}
