// Sums in a fixed order: of the items' losses, or of the items' weights (the denominator of the mean).
//
// A workgroup sums `chunk` items. A single workgroup finishes at once; several leave a partial sum each in `work`, and a second
// dispatch, whose items are those partial sums, finishes.
//
//   work     word 0: the denominator; words 1 .. 3: status (how many invalid items, the first one's index, its value);
//            from SUMS_AT on: partial sums of SUM_WORDS
//
// The source (reduce/source/) supplies
//   fn item_sum(i) -> PartialSum
//   const BY_EIGHT; fn eight_items(i) -> Eight     where true: the bits of items i .. i + 7, 0 in place of those past the last
// reduce/result/ supplies
//   fn finish(total, reported, denominator)        what becomes of the total
// reduce/reported/ supplies
//   fn reported_value(i) -> u32                    the bits of an invalid item
//
// By eights, items are summed as they are, and looked at on the way. Where one is huge, infinite or NaN all is summed again, one by
// one: what is there decides first how the sum is kept.

struct Params {
    spare: vec4<u32>,
}

struct Uniforms {
    dispatch: DispatchParams,
    params: Params,
}

@group(0) @binding(14) var<storage, read_write> work: array<u32>;

override COUNTED: bool = false;     // the denominator stands in `work`, else it is known beforehand

@compute @workgroup_size(WORKGROUP)
fn reduce(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    enter_group(workgroup.x, invocation);
    let first = workgroup.x * u.dispatch.chunk;
    let chunk_end = min(first + u.dispatch.chunk, u.dispatch.item_count);
    // With one lane to a group, the workgroup's other invocations repeat nothing: they have no items.
    let end = select(0u, chunk_end, invocation < LANES);

    var sum = empty_sum();
    var largest = vec4<u32>(0u);
    if (BY_EIGHT) {
        for (var i = first + 8u * lane; i < end; i += 8u * LANES) {
            let eight = eight_items(i);
            largest = max(largest, max(eight.a & vec4<u32>(ABS_BITS), eight.b & vec4<u32>(ABS_BITS)));
            let four = bitcast<vec4<f32>>(eight.a) + bitcast<vec4<f32>>(eight.b);
            sum = add_value(sum, (four.x + four.y) + (four.z + four.w));
        }
    }
    let out_of_proportion = max(max(largest.x, largest.y), max(largest.z, largest.w)) >= HUGE_BITS;
    let one_by_one = group_or(select(0u, 1u, out_of_proportion || !BY_EIGHT)) != 0u;
    if (one_by_one) {
        sum = empty_sum();
    }
    let start = select(end, first + lane, one_by_one);
    for (var i = start; i < end; i += LANES) {
        sum = merge_flags(sum, item_sum(i));
    }
    let scaled = (group_or(sum.flags) & HAS_HUGE) != 0u;
    for (var i = start; i < end; i += LANES) {
        sum = add_sums(sum, item_sum(i), scaled);
    }
    let total = join_sums(sum);
    if (invocation != 0u) {
        return;
    }
    if (workgroups.x == 1u) {
        var denominator = u.dispatch.denominator;
        if (COUNTED) {
            denominator = bitcast<f32>(work[0]);
        }
        var reported = 0u;
        if (total.invalid > 0u) {
            reported = reported_value(total.first_invalid);
        }
        finish(total, reported, denominator);
    } else {
        let words = sum_words(total);
        let at = SUMS_AT + workgroup.x * SUM_WORDS;
        work[at] = words[0];
        work[at + 1u] = words[1];
        work[at + 2u] = words[2];
        work[at + 3u] = words[3];
        work[at + 4u] = words[4];
    }
}
