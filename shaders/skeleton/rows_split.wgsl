// Few long rows: each is split into parts, one group of lanes per part.
//
//   partials  (N, parts)  what `acc_join` makes of each part, then (N, parts) what `revisit_join` makes of it
//
// `parts` sums every part. `again` (losses with a second pass) does so once more, with the row's joined sums. `rows` joins the
// parts' sums, as many lanes as there are parts with one each, so in a fixed order; every group does that for itself and writes
// the gradient of its own part.

@group(0) @binding(12) var<storage, read_write> partials: array<Acc>;

struct Part {
    index: u32,         // of the row in the batch
    at: u32,
    number: u32,
    first: u32,         // quads
    end: u32,
}

fn open_part(group: u32) -> Part {
    let in_band = group / u.frame.parts;
    let number = group - in_band * u.frame.parts;
    let first = number * u.frame.chunk;
    return Part(u.frame.first_row + in_band, row_start(in_band), number, first, min(first + u.frame.chunk, row_quads()));
}

fn is_part(group: u32) -> bool {
    return group < u.frame.rows * u.frame.parts;
}

// The sums over the whole row.
fn join_parts(part: Part) -> Acc {
    var acc = acc_new();
    if (lane < u.frame.parts) {
        acc = partials[part.index * u.frame.parts + lane];
    }
    return acc_join(acc);
}

fn second_sums(part: Part) -> u32 {
    return (u.frame.item_count + part.index) * u.frame.parts;
}

@compute @workgroup_size(WORKGROUP)
fn parts(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let group = enter_rows(workgroup, invocation);
    if (!is_part(group)) {
        return;
    }
    let part = open_part(group);
    let row = open_row(part.index, part.at);
    var acc = acc_new();
    if (!skips_row(row)) {
        acc = sum_quads(row, part.at, part.first, part.end);
    }
    acc = acc_join(acc);
    if (lane == 0u) {
        partials[part.index * u.frame.parts + part.number] = acc;
    }
}

@compute @workgroup_size(WORKGROUP)
fn again_parts(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let group = enter_rows(workgroup, invocation);
    if (!is_part(group)) {
        return;
    }
    let part = open_part(group);
    let row = open_row(part.index, part.at);
    let acc = join_parts(part);
    let end = select(part.end, part.first, skips_row(row));
    let sums = revisit_join(acc, sum_again(row, acc, part.at, part.first, end));
    if (lane == 0u) {
        partials[second_sums(part) + part.number] = sums;
    }
}

@compute @workgroup_size(WORKGROUP)
fn rows(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let group = enter_rows(workgroup, invocation);
    if (!is_part(group)) {
        return;
    }
    denominator = batch_denominator();
    let part = open_part(group);
    let row = open_row(part.index, part.at);
    let skipped = skips_row(row);
    var acc = join_parts(part);
    if (REVISITS) {
        var more = revisit_new();
        if (lane < u.frame.parts) {
            more = revisit_of(partials[second_sums(part) + lane]);
        }
        acc = revisit_join(acc, more);
    }
    let closed = finish_row(part.index, row, skipped, acc, part.number == 0u && lane == 0u);
    if (WANT_GRAD || WANT_GRAD_TARGET) {
        if (skipped) {
            store_zeros(part.at, part.first, part.end);
        } else {
            store_gradients(row, closed, part.at, part.first, part.end);
        }
    }
}
