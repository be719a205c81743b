// The total is the denominator of the mean.

const REPORTS_INVALID = false;

fn finish(total: PartialSum, reported: u32, denominator: f32) {
    work[0] = total_bits(total.flags, total.hi + total.lo, 1.0);
}
