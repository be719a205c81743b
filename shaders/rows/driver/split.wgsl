// Few long rows: each is split into parts, one group of lanes per part.
//
//   partials  (N, parts)  what `acc_join` makes of each part, then (N, parts) what `second_pass_join` makes of it
//
// Three dispatches: `parts` sums every part. `second_parts` (losses with a second pass) does so once more, with the joined sums of the
// row. `rows` joins the sums of the parts, one per lane and so in a fixed order; every group does that for itself and writes the
// gradient of its own part.

@group(0) @binding(16) var<storage, read_write> partials: array<Acc>;

struct Part {
    index: u32,         // of the row in the batch
    at: u32,
    number: u32,
    first: u32,         // fours
    end: u32,
}

fn open_part(group: u32) -> Part {
    let in_band = group / u.dispatch.parts;
    let number = group - in_band * u.dispatch.parts;
    let first = number * u.dispatch.chunk;
    return Part(u.dispatch.first_row + in_band, row_start(in_band), number, first, min(first + u.dispatch.chunk, row_fours()));
}

fn is_part(group: u32) -> bool {
    return group < u.dispatch.rows * u.dispatch.parts;
}

// The sums over the whole row.
fn join_parts(part: Part) -> Acc {
    var acc = acc_new();
    if (lane < u.dispatch.parts) {
        acc = partials[part.index * u.dispatch.parts + lane];
    }
    return acc_join(acc);
}

fn second_sums(part: Part) -> u32 {
    return (u.dispatch.item_count + part.index) * u.dispatch.parts;
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
        acc = sum_fours(row, part.at, part.first, part.end);
    }
    acc = acc_join(acc);
    if (lane == 0u) {
        partials[part.index * u.dispatch.parts + part.number] = acc;
    }
}

@compute @workgroup_size(WORKGROUP)
fn second_parts(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let group = enter_rows(workgroup, invocation);
    if (!is_part(group)) {
        return;
    }
    let part = open_part(group);
    let row = open_row(part.index, part.at);
    let acc = join_parts(part);
    let end = select(part.end, part.first, skips_row(row));
    let sums = second_pass_join(acc, sum_second_pass(row, acc, part.at, part.first, end));
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
    if (HAS_SECOND_PASS) {
        var more = second_pass_new();
        if (lane < u.dispatch.parts) {
            more = second_pass_of(partials[second_sums(part) + lane]);
        }
        acc = second_pass_join(acc, more);
    }
    let result = finish_row(part.index, row, skipped, acc, part.number == 0u && lane == 0u);
    if (WANT_GRAD || WANT_GRAD_TARGET) {
        if (skipped) {
            store_zeros(part.at, part.first, part.end);
        } else {
            store_gradients(row, result, part.at, part.first, part.end);
        }
    }
}
