// An upstream gradient per item, one at a time. Items past the last one repeat it.

@group(0) @binding(7) var<storage, read> grad_output: array<f32>;

fn upstream() -> f32 {
    return 1.0;
}

fn upstream_four(i: u32) -> vec4<f32> {
    let at = min(vec4<u32>(i) + IN_FOUR, vec4<u32>(u.dispatch.item_count - 1u));
    return vec4<f32>(grad_output[at.x], grad_output[at.y], grad_output[at.z], grad_output[at.w]);
}
