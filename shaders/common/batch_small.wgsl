// So few rows that one workgroup has them all: it counts the denominator and sums the losses itself, which takes less time than
// dispatches of their own would take to start.

@group(0) @binding(8) var<storage, read_write> work: array<u32>;
@group(0) @binding(13) var<storage, read_write> loss: array<u32>;

override REPORTS: bool = false;         // targets are class indices: an invalid one is reported

// What a row counts, or its loss.
fn row_bits(counting: bool, i: u32) -> u32 {
    if (counting) {
        return counts(target_index(i), i);
    }
    return items[i];
}

// In two steps, as in reduce.wgsl: what is there decides how the sum is kept.
fn total(counting: bool) -> Record {
    var sum = empty_record();
    for (var i = 0u; i < u.frame.item_count; i++) {
        sum = merge_notes(sum, item_record(row_bits(counting, i), i));
    }
    let shrink = (sum.flags & HAS_HUGE) != 0u;
    for (var i = 0u; i < u.frame.item_count; i++) {
        sum = add_sums(sum, item_record(row_bits(counting, i), i), shrink);
    }
    return sum;
}

fn batch_denominator() -> f32 {
    if (!COUNTED) {
        return u.frame.denominator;
    }
    let counted = total(true);
    return bitcast<f32>(total_bits(counted.flags, counted.high + counted.low, 1.0));
}

fn finish_batch(invocation: u32) {
    // Every row's loss has been written.
    storageBarrier();
    if (invocation != 0u) {
        return;
    }
    let losses = total(false);
    var reported = 0u;
    if (REPORTS && losses.invalid > 0u) {
        reported = target_index(losses.first_invalid);
    }
    write_status(losses, reported);
    if (REDUCED) {
        loss[0] = total_bits(losses.flags, losses.high + losses.low, denominator);
    }
}
