// Sums in a fixed order: of the items' losses, or of the items' weights (the denominator of the mean).
//
// A workgroup sums `chunk` items. A single workgroup finishes at once; several leave one record each in `work`, and a second
// dispatch, whose items are those records, finishes.
//
//   work     word 0: the denominator; words 1 .. 3: status (how many invalid items, the first one's index, its value);
//            from RECORDS_AT on: records of RECORD_WORDS
//   loss     ()   the reduced loss
//   input    the tensor that is counted, or whose element is reported as an invalid item's value: read_ones_*.wgsl
//
// The source file (reduce_*.wgsl) supplies fn read_item(i) -> Record.

struct Params {
    spare: vec4<u32>,
}

struct Uniforms {
    frame: Frame,
    params: Params,
}

override COUNTING: bool = false;    // this sum is the denominator, else the loss
override REPORTS: bool = false;     // `input` has an element for each item

@group(0) @binding(4) var<storage, read_write> work: array<u32>;
@group(0) @binding(5) var<storage, read_write> loss: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn reduce(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    enter_group(workgroup.x, invocation);
    let end = min((workgroup.x + 1u) * u.frame.chunk, u.frame.item_count);
    let start = workgroup.x * u.frame.chunk + lane;
    // With one lane to a group, the workgroup's other invocations repeat nothing: they have no items.
    let active_end = select(0u, end, invocation < LANES);

    // What is there decides how the sum is kept; then the sum.
    var notes = empty_record();
    for (var i = start; i < active_end; i += LANES) {
        notes = merge_notes(notes, read_item(i));
    }
    let shrink = (group_or(notes.flags) & HAS_HUGE) != 0u;
    for (var i = start; i < active_end; i += LANES) {
        notes = add_sums(notes, read_item(i), shrink);
    }
    let total = join_records(notes);
    if (invocation != 0u) {
        return;
    }
    if (workgroups.x == 1u) {
        finish(total);
    } else {
        let words = record_words(total);
        let at = RECORDS_AT + workgroup.x * RECORD_WORDS;
        work[at] = words[0];
        work[at + 1u] = words[1];
        work[at + 2u] = words[2];
        work[at + 3u] = words[3];
        work[at + 4u] = words[4];
    }
}

fn finish(total: Record) {
    let sum = total.high + total.low;
    if (COUNTING) {
        work[0] = total_bits(total.flags, sum, 1.0);
        return;
    }
    work[1] = total.invalid;
    work[2] = total.first_invalid;
    work[3] = 0u;
    if (REPORTS && total.invalid > 0u) {
        work[3] = read_one(total.first_invalid);
    }
    if (REDUCED) {
        var denominator = u.frame.denominator;
        if (COUNTED) {
            denominator = bitcast<f32>(work[0]);
        }
        loss[0] = total_bits(total.flags, sum, denominator);
    }
}

// The bits of sum / denominator.
fn total_bits(flags: u32, sum: f32, denominator: f32) -> u32 {
    if ((flags & HAS_NAN) != 0u || (flags & (HAS_INF | HAS_NEG_INF)) == (HAS_INF | HAS_NEG_INF)) {
        return NAN_BITS;
    }
    let negative = denominator < 0.0;
    if ((flags & (HAS_INF | HAS_NEG_INF)) != 0u) {
        return select(INF_BITS, NEG_INF_BITS, ((flags & HAS_NEG_INF) != 0u) != negative);
    }
    if (denominator == 0.0) {
        return select(select(INF_BITS, NEG_INF_BITS, sum < 0.0), u.frame.empty, sum == 0.0);
    }
    let quotient = sum / denominator;
    if ((flags & HAS_HUGE) == 0u) {
        return bitcast<u32>(quotient);
    }
    if (abs(quotient) >= 0x1p+64f) {
        return select(INF_BITS, NEG_INF_BITS, quotient < 0.0);
    }
    return bitcast<u32>(quotient * 0x1p+64f);
}
