// Reductions over a group of lanes, one subgroup: the workgroup is exactly one subgroup, so nothing needs a barrier.
// Only linked where the adapter has a single subgroup size (see the plan). Butterflies of shuffles rather than
// subgroupAdd: the order of its sum is the vendor's, the order of these is ours.

override LANES: u32 = 8u;
override WORKGROUP: u32 = 8u;

var<private> lane: u32;

fn enter_group(workgroup: u32, invocation: u32) -> u32 {
    zero = u.dispatch.zero;
    lane = invocation;
    return workgroup;
}

fn group_sum(v: f32) -> f32 {
    var total = v;
    for (var step = 1u; step < LANES; step <<= 1u) {
        total += subgroupShuffleXor(total, step);
    }
    return total;
}

fn group_max(v: f32) -> f32 {
    return subgroupMax(v);
}

fn group_sum_u(v: u32) -> u32 {
    return subgroupAdd(v);
}

fn group_min_u(v: u32) -> u32 {
    return subgroupMin(v);
}

fn group_max_u(v: u32) -> u32 {
    return subgroupMax(v);
}

fn group_or(v: u32) -> u32 {
    return subgroupOr(v);
}
