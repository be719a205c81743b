// What becomes of the items' losses: each is stored, and has its own upstream gradient; one at a time.
//
//   grad_output, out   like the items

@group(0) @binding(4) var<storage, read> grad_output: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<u32>;

fn denominator() -> f32 {
    return u.frame.denominator;
}

fn upstream() -> f32 {
    return 1.0;
}

// Items past the last one repeat it.
fn upstream_quad(i: u32) -> vec4<f32> {
    if (HAS_GRAD_OUTPUT) {
        let at = min(vec4<u32>(i) + IN_QUAD, vec4<u32>(u.frame.item_count - 1u));
        return vec4<f32>(grad_output[at.x], grad_output[at.y], grad_output[at.z], grad_output[at.w]);
    }
    return vec4<f32>(1.0);
}

fn store_losses(i: u32, loss: vec4<u32>) {
    if (i >= u.frame.item_count) {
        return;
    }
    let left = u.frame.item_count - i;
    out[i] = loss.x;
    if (left > 1u) {
        out[i + 1u] = loss.y;
    }
    if (left > 2u) {
        out[i + 2u] = loss.z;
    }
    if (left > 3u) {
        out[i + 3u] = loss.w;
    }
}

fn store_record(group: u32, record: Record, huge: bool) {
}
