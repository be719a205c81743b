// Reductions over a group of lanes, by shuffles: groups of at most SHUFFLED lanes, several to a workgroup, or one that is the whole
// workgroup. Linked where the adapter is seen to have consecutive invocations in consecutive lanes of its subgroups, and SHUFFLED is at
// most the smallest subgroup: no fixed size of subgroups is needed. Butterflies, whose order is ours; that of subgroupAdd is the vendor's.
// All functions must be called from uniform control flow; every lane gets the same result.

override LANES: u32 = 32u;
override WORKGROUP: u32 = 32u;
// Neighbouring lanes that shuffle: a power of two, at most 32.
override SHUFFLED: u32 = 32u;
// One of each SHUFFLED lanes, twice.
override CELLS: u32 = 2u * ((LANES + SHUFFLED - 1u) / SHUFFLED);

var<private> lane: u32;
// Reductions use the two halves of `cells` in turn, so one barrier suffices: who writes a half again has passed the barrier of the
// reduction between, which nobody reaches before he has read.
var<private> half_in_turn: u32;
var<workgroup> cells: array<u32, CELLS>;

// The group that this invocation belongs to; sets `lane` and `zero`.
fn enter_group(workgroup: u32, invocation: u32) -> u32 {
    zero = u.dispatch.zero;
    lane = invocation % LANES;
    return workgroup * (WORKGROUP / LANES) + invocation / LANES;
}

fn combine_two(op: u32, a: u32, b: u32) -> u32 {
    return combine(op, vec4<u32>(a), vec4<u32>(b)).x;
}

// Over `count` neighbouring lanes. Not a loop: its steps are known when the kernel is compiled.
fn butterfly(op: u32, v: u32, count: u32) -> u32 {
    var total = v;
    if (count > 1u) {
        total = combine_two(op, total, subgroupShuffleXor(total, 1u));
    }
    if (count > 2u) {
        total = combine_two(op, total, subgroupShuffleXor(total, 2u));
    }
    if (count > 4u) {
        total = combine_two(op, total, subgroupShuffleXor(total, 4u));
    }
    if (count > 8u) {
        total = combine_two(op, total, subgroupShuffleXor(total, 8u));
    }
    if (count > 16u) {
        total = combine_two(op, total, subgroupShuffleXor(total, 16u));
    }
    return total;
}

fn reduce_lanes(op: u32, v: u32) -> u32 {
    let own = butterfly(op, v, min(LANES, SHUFFLED));
    if (LANES <= SHUFFLED) {
        return own;
    }
    if (lane % SHUFFLED == 0u) {
        cells[half_in_turn + lane / SHUFFLED] = own;
    }
    // Every result of SHUFFLED lanes is written.
    workgroupBarrier();
    let count = max(LANES / SHUFFLED, 1u);
    let among = min(count, SHUFFLED);
    var total = cells[half_in_turn + lane % among];
    for (var k = among; k < count; k += SHUFFLED) {
        total = combine_two(op, total, cells[half_in_turn + k + lane % among]);
    }
    half_in_turn = CELLS / 2u - half_in_turn;
    return butterfly(op, total, among);
}
