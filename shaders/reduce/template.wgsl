// Sums in a fixed order: of the items' losses, or of the items' weights (the denominator of the mean).
//
// A workgroup sums `chunk` items. A single workgroup finishes at once; several leave a partial sum each in `work`, and a second
// dispatch, whose items are those partial sums, finishes.
//
//   work     word 0: the denominator (`denominator_bits`); words 1 .. 3: status (how many invalid items, the first one's index, its value);
//            from SUMS_AT on: partial sums of SUM_WORDS
//
// The source (reduce/source/) supplies
//   const BY_EIGHT                                 whether its items are numbers; else they are partial sums
//   fn eight_items(i) -> Eight                     the bits of items i .. i + 7, 0 in place of those past the last
//   fn item_sum(bits, i) -> PartialSum             item i, whose bits these are
// reduce/result/ supplies
//   const REPORTS_INVALID                          whether invalid items are counted
//   fn finish(total, reported, denominator)        what becomes of the total
// reduce/reported/ supplies
//   fn reported_value(i) -> u32                    the bits of an invalid item
//
// Numbers are summed as they are, and looked at on the way. A lane that has met one that is huge, infinite or NaN takes its items
// again, one by one, and tells what is there, which decides how the group keeps its sum.
//
// However many items there are, the sum is off by at most 2e-6 of the sum of their magnitudes, and by a tenth of that as a rule: a
// lane adds up to 64 items as a tree, rounded 6 times, and such sums without loss (`add_value`); joining 256 lanes rounds 10 times, here
// and once more over the partial sums, and hi + lo rounds once: 27 times 2^-24.

struct Params {
    spare: vec4<u32>,
}

struct Uniforms {
    dispatch: DispatchParams,
    params: Params,
}

@group(0) @binding(14) var<storage, read_write> work: array<u32>;

override COUNTED: bool = false;     // the denominator stands in `work`, else it is known beforehand
// Eights of a lane that are on their way from memory together: 1 or 8. More hide a GPU's latency: src/plan/reduce.rs.
override IN_FLIGHT: u32 = 1u;

// Sums of some items, and the largest magnitudes among them, as bits.
struct Seen {
    sum: vec4<f32>,
    largest: vec4<u32>,
}

fn see(eight: Eight) -> Seen {
    let largest = max(eight.a & vec4<u32>(ABS_BITS), eight.b & vec4<u32>(ABS_BITS));
    return Seen(bitcast<vec4<f32>>(eight.a) + bitcast<vec4<f32>>(eight.b), largest);
}

fn both(a: Seen, b: Seen) -> Seen {
    return Seen(a.sum + b.sum, max(a.largest, b.largest));
}

// Items i .. i + 7, and after them as many of every LANES-th eight as are in flight together.
fn see_step(i: u32) -> Seen {
    let a = eight_items(i);
    if (IN_FLIGHT == 1u) {
        return see(a);
    }
    // Both loads before the first use.
    let b = eight_items(i + 8u * LANES);
    return both(see(a), see(b));
}

// The eights that `see_step` takes, one by one.
fn sum_one_by_one(start: u32, end: u32, scaled: bool) -> PartialSum {
    var sum = empty_sum();
    for (var i = start; i < end; i += 8u * LANES) {
        let eight = eight_items(i);
        let a = item_sum(eight.a.x, i);
        let b = item_sum(eight.a.y, i + 1u);
        let c = item_sum(eight.a.z, i + 2u);
        let d = item_sum(eight.a.w, i + 3u);
        let e = item_sum(eight.b.x, i + 4u);
        let f = item_sum(eight.b.y, i + 5u);
        let g = item_sum(eight.b.z, i + 6u);
        let h = item_sum(eight.b.w, i + 7u);
        sum = collect(collect(collect(collect(sum, a, scaled), b, scaled), c, scaled), d, scaled);
        sum = collect(collect(collect(collect(sum, e, scaled), f, scaled), g, scaled), h, scaled);
    }
    return sum;
}

@compute @workgroup_size(WORKGROUP)
fn reduce(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    enter_group(workgroup.x, invocation);
    // A chunk is a whole number of steps, unless it is the last or the only one.
    let start = workgroup.x * u.dispatch.chunk + 8u * lane;
    let end = min(workgroup.x * u.dispatch.chunk + u.dispatch.chunk, u.dispatch.item_count);

    var sum = empty_sum();
    var largest = vec4<u32>(0u);
    if (BY_EIGHT) {
        for (var i = start; i < end; i += 8u * IN_FLIGHT * LANES) {
            let seen = see_step(i);
            largest = max(largest, seen.largest);
            sum = add_value(sum, (seen.sum.x + seen.sum.y) + (seen.sum.z + seen.sum.w));
        }
    }
    let out_of_proportion = max(max(largest.x, largest.y), max(largest.z, largest.w)) >= HUGE_BITS;
    if (!BY_EIGHT | out_of_proportion) {
        sum = sum_one_by_one(start, end, false);
    }
    let something = any(largest != vec4<u32>(0u));
    let flags = group_or(sum.flags | select(0u, HAS_COUNTS, something));
    if ((flags & HAS_HUGE) != 0u) {
        sum = sum_one_by_one(start, end, true);
    }
    let total = join_sums(sum, flags, REPORTS_INVALID);
    if (invocation != 0u) {
        return;
    }
    if (workgroups.x == 1u) {
        var denominator = bitcast<u32>(u.dispatch.denominator);
        if (COUNTED) {
            denominator = work[0];
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
