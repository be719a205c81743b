// A row that holds only ordinary numbers is summed by plain arithmetic, and never enters the other way.

// The terms of what is held, added to sums that have their maximum.
fn add_held(before: Acc, row: Row, at: u32, reads: bool) -> Acc {
    var acc = before;
    let is_ordinary = is_ordinary_row();
    if (reads & is_ordinary) {
        assume_finite = true;
        acc = sum_held(acc_move(before), row, at);
    } else if (reads) {
        assume_finite = false;
        acc = sum_held(acc_move(before), row, at);
    }
    assume_finite = is_ordinary;
    return acc;
}
