// The course of one row, which a group of lanes shares: rows/held/ has its first pairs, rows/walk.wgsl the rest.

// Whether a row may go on after its held pairs.
fn walks() -> bool {
    return (HELD == 0u) | GOES_ON;
}

// `exists`: false for a group that only keeps the others company.
fn one_row(in_band: u32, exists: bool) {
    denominator = batch_denominator();
    let index = u.dispatch.first_row + in_band;
    let at = row_start(in_band);
    let pairs = row_pairs(at);
    let row = open_row(index, at);
    let skipped = skips_row(row);
    let acc = row_sums(row, at, pairs, !skipped);
    let result = finish_row(index, row, skipped, acc, exists & (lane == 0u));
    await_reads();
    if (!exists | !(WANT_GRAD | WANT_GRAD_TARGET)) {
        return;
    }
    if (is_flat(skipped)) {
        store_zeros(at, 0u, pairs);
        return;
    }
    store_held(row, acc, result, at);
    if (walks()) {
        store_walk(row, acc, result, at, HELD, pairs);
    }
}

// All sums over the classes; `assume_finite` is set for the gradient. `reads`: false for a row that is skipped.
fn row_sums(row: Row, at: u32, pairs: u32, reads: bool) -> Acc {
    var acc = acc_new();
    if (!ACCUMULATES) {
        return acc;
    }
    extremes_new();
    assume_finite = false;
    if (reads) {
        load_held(at);
        if (walks()) {
            acc = sum_walk(acc, row, at, HELD, pairs);
        }
        look_held();
    }
    join_extremes();
    acc = add_held(raised(acc), row, at, reads);
    acc = acc_join(acc);
    if (!has_second_pass()) {
        return acc;
    }
    var sums = second_pass_new();
    if (reads) {
        if (walks()) {
            sums = second_walk(sums, row, acc, at, HELD, pairs);
        }
        sums = second_held(sums, row, acc, at);
    }
    return second_pass_join(acc, sums);
}
