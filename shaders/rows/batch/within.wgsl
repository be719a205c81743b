// So few rows that one workgroup has them all: it counts the denominator and sums the losses itself, which takes less time than
// dispatches of their own would take to start.

@group(0) @binding(14) var<storage, read_write> work: array<u32>;

override COUNTED: bool = false;         // the denominator is counted, else known beforehand
override REPORTS: bool = false;         // targets are class indices: an invalid one is reported

// What a row counts, or its loss.
fn row_bits(counting: bool, i: u32) -> u32 {
    if (counting) {
        return counts(target_index(i), i);
    }
    return losses[i];
}

// In two steps, as in reduce/template.wgsl: what is there decides how the sum is kept.
fn total(counting: bool) -> PartialSum {
    var sum = empty_sum();
    for (var i = 0u; i < u.dispatch.item_count; i++) {
        let bits = row_bits(counting, i);
        sum = merge_flags(sum, sum_of_item(bits, i));
        sum.flags |= select(HAS_COUNTS, 0u, (bits & ABS_BITS) == 0u);
    }
    let scaled = (sum.flags & HAS_HUGE) != 0u;
    for (var i = 0u; i < u.dispatch.item_count; i++) {
        sum = add_sums(sum, sum_of_item(row_bits(counting, i), i), scaled);
    }
    return sum;
}

fn batch_denominator() -> u32 {
    if (!COUNTED) {
        return bitcast<u32>(u.dispatch.denominator);
    }
    return denominator_bits(total(true));
}

fn finish_batch(invocation: u32) {
    // Every row's loss has been written.
    storageBarrier();
    if (invocation != 0u) {
        return;
    }
    let all = total(false);
    var reported = 0u;
    if (REPORTS & (all.invalid > 0u)) {
        reported = target_index(all.first_invalid);
    }
    finish(all, reported, denominator);
}
