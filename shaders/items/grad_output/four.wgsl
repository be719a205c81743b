// An upstream gradient per item, by aligned fours.

@group(0) @binding(7) var<storage, read> grad_output: array<Bytes16>;

fn upstream() -> f32 {
    return 1.0;
}

fn upstream_four(i: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(words4(grad_output[min(i >> 2u, last_four())]));
}
