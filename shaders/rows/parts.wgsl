// Few long rows: each is split into parts, one group of lanes per part. What rows/driver/split.wgsl and split_in_place.wgsl have in common.
//
//   partials  (N, parts)  what `acc_join` makes of each part, then (N, parts) what `second_pass_join` makes of it
//
// Three dispatches: `parts` sums every part. `second_parts` (losses with a second pass) does so once more, with the joined sums of the
// row. `rows` (rows/driver/) joins the sums of the parts, one per lane and so in a fixed order; every group does that for itself and writes
// the gradient of its own part.

@group(0) @binding(16) var<storage, read_write> partials: array<Acc>;

struct Part {
    index: u32,         // of the row in the batch
    at: u32,
    number: u32,
    first: u32,         // pairs
    end: u32,
    exists: bool,
}

fn open_part(group: u32) -> Part {
    let groups = u.dispatch.rows * u.dispatch.parts;
    let in_band = min(group, groups - 1u) / u.dispatch.parts;
    let number = min(group, groups - 1u) - in_band * u.dispatch.parts;
    let at = row_start(in_band);
    let first = number * u.dispatch.chunk;
    let end = min(first + u.dispatch.chunk, row_pairs(at));
    return Part(u.dispatch.first_row + in_band, at, number, first, end, group < groups);
}

// The sums over the whole row.
fn join_parts(part: Part) -> Acc {
    var acc = acc_new();
    if (lane < u.dispatch.parts) {
        acc = partials[part.index * u.dispatch.parts + lane];
    }
    return acc_join(acc_move(peak_join(acc)));
}

fn second_sums(part: Part) -> u32 {
    return (u.dispatch.item_count + part.index) * u.dispatch.parts;
}

// The same, with the sums of a second pass.
fn join_all(part: Part) -> Acc {
    extremes_new();
    let acc = join_parts(part);
    if (!has_second_pass()) {
        return acc;
    }
    var sums = second_pass_new();
    if (lane < u.dispatch.parts) {
        sums = second_pass_of(partials[second_sums(part) + lane]);
    }
    return second_pass_join(acc, sums);
}

@compute @workgroup_size(WORKGROUP)
fn parts(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let part = open_part(enter_rows(workgroup, invocation));
    let row = open_row(part.index, part.at);
    extremes_new();
    var acc = acc_new();
    if (ACCUMULATES & !skips_row(row)) {
        acc = sum_walk(acc, row, part.at, part.first, part.end);
    }
    join_extremes();
    acc = acc_join(acc_move(raised(acc)));
    if ((lane == 0u) & part.exists) {
        partials[part.index * u.dispatch.parts + part.number] = acc;
    }
}

@compute @workgroup_size(WORKGROUP)
fn second_parts(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let part = open_part(enter_rows(workgroup, invocation));
    let row = open_row(part.index, part.at);
    extremes_new();
    let acc = join_parts(part);
    var sums = second_pass_new();
    if (has_second_pass() & !skips_row(row)) {
        sums = second_walk(sums, row, acc, part.at, part.first, part.end);
    }
    let joined = second_pass_join(acc, sums);
    if ((lane == 0u) & part.exists) {
        partials[second_sums(part) + part.number] = joined;
    }
}
