// The total is the denominator of the mean.

const REPORTS_INVALID = false;

fn finish(total: PartialSum, reported: u32, denominator: u32) {
    work[0] = denominator_bits(total);
}
