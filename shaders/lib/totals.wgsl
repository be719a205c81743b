// What becomes of a sum over all items.

fn write_status(total: PartialSum, first_invalid_value: u32) {
    work[1] = total.invalid;
    work[2] = total.first_invalid;
    work[3] = first_invalid_value;
}

// The bits of the denominator of a mean, given what the items count: 0 where nothing counts, so that the mean is that of an empty batch;
// NaN where items count but cancel, as there is no mean then.
fn denominator_bits(counted: PartialSum) -> u32 {
    let bits = quotient_bits(counted, 1.0);
    let is_zero = (bits & ABS_BITS) == 0u;
    return select(bits, select(0u, NAN_BITS, (counted.flags & HAS_COUNTS) != 0u), is_zero);
}

// The bits of the mean of the losses, or of their sum over a denominator of 1.
fn mean_bits(losses: PartialSum, denominator: u32) -> u32 {
    if (denominator == 0u) {
        return u.dispatch.empty;
    }
    if (is_nan(denominator)) {
        return NAN_BITS;
    }
    return quotient_bits(losses, bitcast<f32>(denominator));
}

// The bits of a total divided by a number that is not 0.
fn quotient_bits(total: PartialSum, denominator: f32) -> u32 {
    let flags = total.flags;
    if (((flags & HAS_NAN) != 0u) | ((flags & (HAS_INF | HAS_NEG_INF)) == (HAS_INF | HAS_NEG_INF))) {
        return NAN_BITS;
    }
    if ((flags & (HAS_INF | HAS_NEG_INF)) != 0u) {
        return select(INF_BITS, NEG_INF_BITS, ((flags & HAS_NEG_INF) != 0u) != (denominator < 0.0));
    }
    let quotient = (total.hi + total.lo) / denominator;
    if ((flags & HAS_HUGE) == 0u) {
        return bitcast<u32>(quotient);
    }
    if (abs(quotient) >= 0x1p+64f) {
        return select(INF_BITS, NEG_INF_BITS, quotient < 0.0);
    }
    return bitcast<u32>(quotient * 0x1p+64f);
}
