// Reductions over a group of lanes, one workgroup: in workgroup memory, by two barriers. All functions must be called from
// uniform control flow; every lane gets the result.
//
// Sixteen lanes combine a sixteenth of the values each, then every lane combines the sixteen results. A tree would wait at a
// barrier per level, ten times for 256 lanes; no size of subgroups is assumed.

// A power of two, at least 64.
override LANES: u32 = 256u;
override WORKGROUP: u32 = 256u;

const PARTIALS = 16u;
// One of each lane, then the partial results. (naga takes no expression of overrides for a size, but an override.)
override CELLS: u32 = LANES + PARTIALS;

var<private> lane: u32;
var<workgroup> cells: array<u32, CELLS>;

fn enter_group(workgroup: u32, invocation: u32) -> u32 {
    zero = u.dispatch.zero;
    lane = invocation;
    return workgroup;
}

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

// Combines `count` cells from `first` on, `step` apart: a multiple of four, as four sums side by side.
fn combine_cells(op: u32, first: u32, step: u32, count: u32) -> u32 {
    let place = vec4<u32>(first) + vec4<u32>(0u, step, 2u * step, 3u * step);
    var total = vec4<u32>(cells[place.x], cells[place.y], cells[place.z], cells[place.w]);
    for (var k = 4u; k < count; k += 4u) {
        let at = place + vec4<u32>(k * step);
        total = combine(op, total, vec4<u32>(cells[at.x], cells[at.y], cells[at.z], cells[at.w]));
    }
    let two = combine(op, total, total.zwxy);
    return combine(op, two, two.yxwz).x;
}

fn reduce_lanes(op: u32, v: u32) -> u32 {
    // The cells of an earlier reduction have been read: its second barrier came after.
    cells[lane] = v;
    // Every lane has written its cell, and has read the partial results of an earlier reduction.
    workgroupBarrier();
    if (lane < PARTIALS) {
        cells[LANES + lane] = combine_cells(op, lane, PARTIALS, LANES / PARTIALS);
    }
    // The partial results are written before anybody reads them.
    workgroupBarrier();
    return combine_cells(op, LANES, 1u, PARTIALS);
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
