// Several groups per row, whose sums of parts (rows/parts.wgsl) are there, and whose gradient overwrites its logits. To finish a row takes
// logits of all its parts, so `results` does that, a group per row, before a group of `rows` may write its part.
//
//   row_states (N)  what the gradient of a row needs besides its classes

struct RowState {
    row: Row,
    acc: Acc,
    result: RowResult,
}

@group(0) @binding(19) var<storage, read_write> row_states: array<RowState>;

@compute @workgroup_size(WORKGROUP)
fn results(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let in_band = enter_rows(workgroup, invocation);
    let writes = (in_band < u.dispatch.rows) & (lane == 0u);
    // Groups meet at barriers: one without a row of its own comes along with the last.
    let part = open_part(min(in_band, u.dispatch.rows - 1u) * u.dispatch.parts);
    denominator = batch_denominator();
    let row = open_row(part.index, part.at);
    let acc = join_all(part);
    let result = finish_row(part.index, row, skips_row(row), acc, writes);
    if (writes) {
        row_states[part.index] = RowState(row, acc, result);
    }
}

@compute @workgroup_size(WORKGROUP)
fn rows(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let part = open_part(enter_rows(workgroup, invocation));
    if (!part.exists) {
        return;
    }
    denominator = batch_denominator();
    // For what it keeps in variables of its own: the logit that it reads may be a gradient by now.
    _ = open_row(part.index, part.at);
    let state = row_states[part.index];
    if (is_flat(skips_row(state.row))) {
        store_zeros(part.at, part.first, part.end);
    } else {
        store_walk(state.row, state.acc, state.result, part.at, part.first, part.end);
    }
}
