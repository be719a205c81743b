// One group of lanes per row.

fn whole_row(in_band: u32) {
    denominator = batch_denominator();
    let index = u.frame.first_row + in_band;
    let at = row_start(in_band);
    let quads = row_quads();

    let row = open_row(index, at);
    let skipped = skips_row(row);
    var acc = acc_new();
    if (ACCUMULATES && !skipped) {
        acc = sum_quads(row, at, 0u, quads);
    }
    acc = acc_join(acc);
    if (REVISITS) {
        acc = revisit_join(acc, sum_again(row, acc, at, 0u, select(quads, 0u, skipped)));
    }
    let closed = finish_row(index, row, skipped, acc, lane == 0u);
    if (WANT_GRAD || WANT_GRAD_TARGET) {
        if (skipped) {
            store_zeros(at, 0u, quads);
        } else {
            store_gradients(row, closed, at, 0u, quads);
        }
    }
}

@compute @workgroup_size(WORKGROUP)
fn rows(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let in_band = u.frame.start + enter_rows(workgroup, invocation);
    if (in_band < u.frame.rows) {
        whole_row(in_band);
    }
    finish_batch(invocation);
}
