// A group of lanes per row.

@compute @workgroup_size(WORKGROUP)
fn rows(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let in_band = u.dispatch.start + enter_rows(workgroup, invocation);
    // Groups meet at barriers: one without a row of its own comes along with the last.
    one_row(min(in_band, u.dispatch.rows - 1u), in_band < u.dispatch.rows);
    finish_batch(invocation);
}
