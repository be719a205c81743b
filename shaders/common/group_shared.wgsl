// Reductions over a group of lanes, one workgroup: a tree in workgroup memory. All functions must be called from uniform
// control flow; every lane gets the result.

override LANES: u32 = 256u;
override WORKGROUP: u32 = 256u;

var<private> lane: u32;
var<workgroup> cells: array<u32, LANES>;

fn enter_group(workgroup: u32, invocation: u32) -> u32 {
    lane = invocation;
    return workgroup;
}

const OP_SUM = 0u;
const OP_MAX = 1u;
const OP_SUM_U = 2u;
const OP_MIN_U = 3u;
const OP_MAX_U = 4u;
const OP_OR = 5u;

fn combine(op: u32, a: u32, b: u32) -> u32 {
    switch (op) {
        case OP_SUM: { return bitcast<u32>(bitcast<f32>(a) + bitcast<f32>(b)); }
        case OP_MAX: { return bitcast<u32>(max(bitcast<f32>(a), bitcast<f32>(b))); }
        case OP_SUM_U: { return a + b; }
        case OP_MIN_U: { return min(a, b); }
        case OP_MAX_U: { return max(a, b); }
        default: { return a | b; }
    }
}

// LANES is a power of two.
fn tree(op: u32, v: u32) -> u32 {
    // A previous tree's result has been read by every lane before its cells are overwritten.
    workgroupBarrier();
    cells[lane] = v;
    for (var step = LANES / 2u; step > 0u; step >>= 1u) {
        // The upper half is written before the lower half reads it.
        workgroupBarrier();
        if (lane < step) {
            cells[lane] = combine(op, cells[lane], cells[lane + step]);
        }
    }
    workgroupBarrier();
    return cells[0];
}

fn group_sum(v: f32) -> f32 {
    return bitcast<f32>(tree(OP_SUM, bitcast<u32>(v)));
}

fn group_max(v: f32) -> f32 {
    return bitcast<f32>(tree(OP_MAX, bitcast<u32>(v)));
}

fn group_sum_u(v: u32) -> u32 {
    return tree(OP_SUM_U, v);
}

fn group_min_u(v: u32) -> u32 {
    return tree(OP_MIN_U, v);
}

fn group_max_u(v: u32) -> u32 {
    return tree(OP_MAX_U, v);
}

fn group_or(v: u32) -> u32 {
    return tree(OP_OR, v);
}
