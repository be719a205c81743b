// Reductions over a group of lanes, single lane: every invocation is its own group and nothing is exchanged.

// Lanes of a group.
override LANES: u32 = 1u;
override WORKGROUP: u32 = 64u;

var<private> lane: u32;

// The group that this invocation belongs to; sets `lane` and `zero`.
fn enter_group(workgroup: u32, invocation: u32) -> u32 {
    zero = u.dispatch.zero;
    lane = 0u;
    return workgroup * WORKGROUP + invocation;
}

fn reduce_lanes(op: u32, v: u32) -> u32 {
    return v;
}
