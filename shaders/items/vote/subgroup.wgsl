// Whether something holds for some lane of the group, one subgroup: nothing needs a barrier. What every lane is told is the same.

fn any_lane(holds: bool) -> bool {
    return group_or(select(0u, 1u, holds)) != 0u;
}
