// Several groups per row, whose sums of parts (rows/parts.wgsl) are there: each finishes the row for itself and writes the gradient of its
// part.

@compute @workgroup_size(WORKGROUP)
fn rows(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let part = open_part(enter_rows(workgroup, invocation));
    denominator = batch_denominator();
    let row = open_row(part.index, part.at);
    let skipped = skips_row(row);
    let acc = join_all(part);
    let result = finish_row(part.index, row, skipped, acc, part.exists & (part.number == 0u) & (lane == 0u));
    if (part.exists & (WANT_GRAD | WANT_GRAD_TARGET)) {
        if (is_flat(skipped)) {
            store_zeros(part.at, part.first, part.end);
        } else {
            store_walk(row, acc, result, part.at, part.first, part.end);
        }
    }
}
