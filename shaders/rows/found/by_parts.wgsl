// What the extremes of the parts of a row told, which each have a lane when they are joined.

fn join_found(found: u32) -> u32 {
    return group_or(found);
}
