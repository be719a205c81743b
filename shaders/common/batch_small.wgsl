// So few rows that one workgroup has them all: it counts the denominator and sums the losses itself, which takes less time than
// dispatches of their own would take to start.

@group(0) @binding(8) var<storage, read_write> work: array<u32>;
@group(0) @binding(13) var<storage, read_write> loss: array<u32>;

override REPORTS: bool = false;         // targets are class indices, or lists of them

// In two steps, as in reduce.wgsl: what is there decides how the sum is kept.
fn total_count() -> Record {
    var sum = empty_record();
    for (var i = 0u; i < u.frame.item_count; i++) {
        sum = merge_notes(sum, item_record(counts(target_index(i), i), i));
    }
    let shrink = (sum.flags & HAS_HUGE) != 0u;
    for (var i = 0u; i < u.frame.item_count; i++) {
        sum = add_sums(sum, item_record(counts(target_index(i), i), i), shrink);
    }
    return sum;
}

fn batch_denominator() -> f32 {
    if (!COUNTED) {
        return u.frame.denominator;
    }
    let total = total_count();
    return bitcast<f32>(total_bits(total.flags, total.high + total.low, 1.0));
}

fn total_loss() -> Record {
    var sum = empty_record();
    for (var i = 0u; i < u.frame.item_count; i++) {
        sum = merge_notes(sum, item_record(items[i], i));
    }
    let shrink = (sum.flags & HAS_HUGE) != 0u;
    for (var i = 0u; i < u.frame.item_count; i++) {
        sum = add_sums(sum, item_record(items[i], i), shrink);
    }
    return sum;
}

fn finish_batch(invocation: u32) {
    // Every row's loss has been written.
    storageBarrier();
    if (invocation != 0u) {
        return;
    }
    let total = total_loss();
    var reported = 0u;
    if (REPORTS && total.invalid > 0u) {
        reported = target_index(total.first_invalid);
    }
    write_status(total, reported);
    if (REDUCED) {
        loss[0] = total_bits(total.flags, total.high + total.low, denominator);
    }
}
