// Sums the gradient of a broadcast tensor over the items that share an element. One group of lanes per element, fixed order.
//
// A lane adds its items without loss (`add_value`), joining 256 lanes rounds 10 times, and what is stored rounds once more; twice so where
// an element collects several segments. The sum is off by 22 times 2^-24 at most, 1.3e-6 of the sum of the magnitudes.

struct Params {
    dims: vec4<u32>,        // the items' shape
    shared_dims: vec4<u32>, // dims where the tensor is broadcast, else 1
    kept_dims: vec4<u32>,   // dims where it is not, else 1
}

struct Uniforms {
    dispatch: DispatchParams,
    params: Params,
}

@group(0) @binding(17) var<storage, read> wide: array<u32>;

// Coordinates of number i in a grid of these dims.
fn coordinates(i: u32, d: vec4<u32>) -> vec4<u32> {
    let a = i / d.w;
    let b = a / d.z;
    let c = b / d.y;
    return vec4<u32>(c, b - c * d.y, a - b * d.z, i - a * d.w);
}

@compute @workgroup_size(WORKGROUP)
fn sum_to_shape(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let group = enter_group(workgroup.x + workgroup.y * u.dispatch.grid_x, invocation);
    // Segments of the items to collect, one after the other; all elements of the first segment come first.
    let segment = group / u.dispatch.rows;
    let start = segment * u.dispatch.chunk;
    let end = min(start + u.dispatch.chunk, u.dispatch.item_count);
    let d = u.params.dims;
    let steps = vec4<u32>(d.y * d.z * d.w, d.z * d.w, d.w, 1u);
    let base = dot(coordinates(group - segment * u.dispatch.rows, u.params.kept_dims), steps);
    var sum = empty_sum();
    for (var i = start + lane; i < end; i += LANES) {
        let bits = wide[base + dot(coordinates(i, u.params.shared_dims), steps)];
        if (is_finite(bits)) {
            sum = add_value(sum, bitcast<f32>(bits));
        } else {
            sum.flags |= sum_of_item(bits, i).flags;
        }
    }
    let total = join_sums(sum, group_or(sum.flags), false);
    // Groups meet at barriers: those past the last segment come along. Of no items there is one segment, and every sum is 0.
    if ((lane == 0u) & ((start < u.dispatch.item_count) | (segment == 0u))) {
        write_one(group, sum_bits(total));
    }
}

fn sum_bits(total: PartialSum) -> u32 {
    switch (total.flags) {
        case 0u: { return bitcast<u32>(total.hi + total.lo); }
        case HAS_INF: { return INF_BITS; }
        case HAS_NEG_INF: { return NEG_INF_BITS; }
        default: { return NAN_BITS; }
    }
}
