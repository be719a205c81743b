// One group of lanes per row.

fn whole_row(in_band: u32) {
    denominator = batch_denominator();
    let index = u.dispatch.first_row + in_band;
    let at = row_start(in_band);
    let fours = row_fours();

    let row = open_row(index, at);
    let skipped = skips_row(row);
    var acc = acc_new();
    if (ACCUMULATES && !skipped) {
        acc = sum_fours(row, at, 0u, fours);
    }
    acc = acc_join(acc);
    if (HAS_SECOND_PASS) {
        acc = second_pass_join(acc, sum_second_pass(row, acc, at, 0u, select(fours, 0u, skipped)));
    }
    let result = finish_row(index, row, skipped, acc, lane == 0u);
    if (WANT_GRAD || WANT_GRAD_TARGET) {
        if (skipped) {
            store_zeros(at, 0u, fours);
        } else {
            store_gradients(row, result, at, 0u, fours);
        }
    }
}

@compute @workgroup_size(WORKGROUP)
fn rows(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let in_band = u.dispatch.start + enter_rows(workgroup, invocation);
    if (in_band < u.dispatch.rows) {
        whole_row(in_band);
    }
    finish_batch(invocation);
}
