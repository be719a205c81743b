// What becomes of a sum over all items.

fn write_status(total: PartialSum, first_invalid_value: u32) {
    work[1] = total.invalid;
    work[2] = total.first_invalid;
    work[3] = first_invalid_value;
}

// The bits of sum / denominator. Over a denominator of 0 there is a mean only of nothing: where weights cancel or are 0 although their
// rows lose something, it is NaN.
fn total_bits(flags: u32, sum: f32, denominator: f32) -> u32 {
    if ((flags & HAS_NAN) != 0u || (flags & (HAS_INF | HAS_NEG_INF)) == (HAS_INF | HAS_NEG_INF)) {
        return NAN_BITS;
    }
    let infinite = (flags & (HAS_INF | HAS_NEG_INF)) != 0u;
    if (denominator == 0.0) {
        return select(NAN_BITS, u.dispatch.empty, sum == 0.0 && !infinite);
    }
    if (infinite) {
        return select(INF_BITS, NEG_INF_BITS, ((flags & HAS_NEG_INF) != 0u) != (denominator < 0.0));
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
