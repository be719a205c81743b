// Reductions over a group of lanes, through workgroup memory, where they cannot shuffle: groups of 4 to 32 lanes, several to a workgroup,
// or of at least 64, one to a workgroup. All functions must be called from uniform control flow; every lane gets the same
// result.
//
// In a small group every lane combines all values. In a large one sixteen lanes combine a sixteenth of them each, then every lane combines
// the sixteen results. A tree would wait at a barrier per level, ten times for 256 lanes.

override LANES: u32 = 256u;
override WORKGROUP: u32 = 256u;

const PARTIALS = 16u;
// One of each lane, twice; then the partial results. (naga takes no expression of overrides for a size, but an override.)
override CELLS: u32 = 2u * WORKGROUP + PARTIALS;

var<private> lane: u32;
// Of the group's cells; reductions use the two halves of `cells` in turn: who writes a half again has passed the barrier of the reduction
// between, which nobody reaches before he has read.
var<private> first_cell: u32;
var<private> half_in_turn: u32;
var<workgroup> cells: array<u32, CELLS>;

fn enter_group(workgroup: u32, invocation: u32) -> u32 {
    zero = u.dispatch.zero;
    lane = invocation % LANES;
    first_cell = invocation - lane;
    return workgroup * (WORKGROUP / LANES) + invocation / LANES;
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
    let first = half_in_turn + first_cell;
    cells[first + lane] = v;
    half_in_turn = WORKGROUP - half_in_turn;
    // Every lane has written its cell, and has read the partial results of an earlier reduction.
    workgroupBarrier();
    if (LANES < 64u) {
        return combine_cells(op, first, 1u, LANES);
    }
    if (lane < PARTIALS) {
        cells[2u * WORKGROUP + lane] = combine_cells(op, first + lane, PARTIALS, LANES / PARTIALS);
    }
    // The partial results are written before anybody reads them.
    workgroupBarrier();
    return combine_cells(op, 2u * WORKGROUP, 1u, PARTIALS);
}
