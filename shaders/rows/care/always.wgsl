// Every row may hold anything: software adapters run both sides of a branch.

// The terms of what is held, added to sums that have their maximum.
fn add_held(before: Acc, row: Row, at: u32, reads: bool) -> Acc {
    var acc = before;
    if (reads) {
        acc = sum_held(acc_move(before), row, at);
    }
    return acc;
}
