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
// The source file (reduce_*.wgsl) supplies
//   fn read_item(i) -> Record
//   const BY_EIGHTS; fn read_eight(i) -> Pair      where true: the bits of items i .. i + 7, 0 in place of those past the last
//
// By eights, items are summed as they are, and looked at on the way. Where one is huge, infinite or NaN all is summed again, one by
// one: what is there decides first how the sum is kept.

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
    let first = workgroup.x * u.frame.chunk;
    let chunk_end = min(first + u.frame.chunk, u.frame.item_count);
    // With one lane to a group, the workgroup's other invocations repeat nothing: they have no items.
    let end = select(0u, chunk_end, invocation < LANES);

    var sum = empty_record();
    var largest = vec4<u32>(0u);
    if (BY_EIGHTS) {
        for (var i = first + 8u * lane; i < end; i += 8u * LANES) {
            let eight = read_eight(i);
            largest = max(largest, max(eight.a & vec4<u32>(ABS_BITS), eight.b & vec4<u32>(ABS_BITS)));
            let four = bitcast<vec4<f32>>(eight.a) + bitcast<vec4<f32>>(eight.b);
            sum = add_to(sum, (four.x + four.y) + (four.z + four.w));
        }
    }
    let wild = max(max(largest.x, largest.y), max(largest.z, largest.w)) >= HUGE_BITS;
    let one_by_one = group_or(select(0u, 1u, wild || !BY_EIGHTS)) != 0u;
    if (one_by_one) {
        sum = empty_record();
    }
    let start = select(end, first + lane, one_by_one);
    for (var i = start; i < end; i += LANES) {
        sum = merge_notes(sum, read_item(i));
    }
    let shrink = (group_or(sum.flags) & HAS_HUGE) != 0u;
    for (var i = start; i < end; i += LANES) {
        sum = add_sums(sum, read_item(i), shrink);
    }
    let total = join_records(sum);
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
    var reported = 0u;
    if (REPORTS && total.invalid > 0u) {
        reported = read_one(total.first_invalid);
    }
    write_status(total, reported);
    if (REDUCED) {
        var denominator = u.frame.denominator;
        if (COUNTED) {
            denominator = bitcast<f32>(work[0]);
        }
        loss[0] = total_bits(total.flags, sum, denominator);
    }
}
