// Reductions over the lanes of a group: what is reduced, and how two values are combined. How lanes reach each other is `reduce_lanes` in
// group/.

const OP_SUM = 0u;
const OP_MAX = 1u;
const OP_SUM_U = 2u;
const OP_MIN_U = 3u;
const OP_MAX_U = 4u;
const OP_OR = 5u;

fn combine(op: u32, a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    switch (op) {
        case OP_SUM: { return bitcast<vec4<u32>>(bitcast<vec4<f32>>(a) + bitcast<vec4<f32>>(b)); }
        case OP_MAX: { return bitcast<vec4<u32>>(max(bitcast<vec4<f32>>(a), bitcast<vec4<f32>>(b))); }
        case OP_SUM_U: { return a + b; }
        case OP_MIN_U: { return min(a, b); }
        case OP_MAX_U: { return max(a, b); }
        default: { return a | b; }
    }
}

fn group_sum(v: f32) -> f32 {
    return bitcast<f32>(reduce_lanes(OP_SUM, bitcast<u32>(v)));
}

fn group_max(v: f32) -> f32 {
    return bitcast<f32>(reduce_lanes(OP_MAX, bitcast<u32>(v)));
}

fn group_sum_u(v: u32) -> u32 {
    return reduce_lanes(OP_SUM_U, v);
}

fn group_min_u(v: u32) -> u32 {
    return reduce_lanes(OP_MIN_U, v);
}

fn group_max_u(v: u32) -> u32 {
    return reduce_lanes(OP_MAX_U, v);
}

fn group_or(v: u32) -> u32 {
    return reduce_lanes(OP_OR, v);
}
