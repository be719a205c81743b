// How a device lays a workgroup of one dimension out on subgroups, which WGSL leaves open: what the losses rely on is that
// consecutive invocations are consecutive lanes. A kernel of its own, run once per device that has subgroups, for several sizes of
// workgroups; no loss links it. The host judges what was seen: src/gpu/prove.rs.
//
//   marks    (2, WORKGROUP)  a random number for each invocation
//   seen     (2, WORKGROUP)  what it sees: the subgroup, its lane there, and the marks of other lanes

struct Seen {
    size: u32,
    lane: u32,
    across_1: u32,
    across_2: u32,
    across_4: u32,
    across_8: u32,
    across_16: u32,
    spare: u32,
}

@group(0) @binding(0) var<storage, read> marks: array<u32>;
@group(0) @binding(1) var<storage, read_write> seen: array<Seen>;

override WORKGROUP: u32 = 64u;

@compute @workgroup_size(WORKGROUP)
fn lanes(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
    @builtin(subgroup_size) size: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let at = workgroup.x * WORKGROUP + invocation;
    let mark = marks[at];
    // A mask that no lane of this subgroup has gives some number, which the host does not look at.
    seen[at] = Seen(
        size,
        lane,
        subgroupShuffleXor(mark, 1u),
        subgroupShuffleXor(mark, 2u),
        subgroupShuffleXor(mark, 4u),
        subgroupShuffleXor(mark, 8u),
        subgroupShuffleXor(mark, 16u),
        0u,
    );
}
