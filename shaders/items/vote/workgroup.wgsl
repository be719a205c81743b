// Whether something holds for some lane of the group, one workgroup. Called from uniform control flow, and what depends on the answer
// is uniform too, barriers included: browsers believe it of a value that `workgroupUniformLoad` gives.

var<workgroup> answer: u32;

fn any_lane(holds: bool) -> bool {
    let some = group_or(select(0u, 1u, holds));
    if (lane == 0u) {
        answer = some;
    }
    // Waits before and after the load.
    return workgroupUniformLoad(&answer) != 0u;
}
