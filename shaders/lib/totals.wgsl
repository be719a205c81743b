// What becomes of a sum over all items.

fn write_status(total: PartialSum, first_invalid_value: u32) {
    work[1] = total.invalid;
    work[2] = total.first_invalid;
    work[3] = first_invalid_value;
}

// The bits of sum / denominator.
fn total_bits(flags: u32, sum: f32, denominator: f32) -> u32 {
    if ((flags & HAS_NAN) != 0u || (flags & (HAS_INF | HAS_NEG_INF)) == (HAS_INF | HAS_NEG_INF)) {
        return NAN_BITS;
    }
    let negative = denominator < 0.0;
    if ((flags & (HAS_INF | HAS_NEG_INF)) != 0u) {
        return select(INF_BITS, NEG_INF_BITS, ((flags & HAS_NEG_INF) != 0u) != negative);
    }
    if (denominator == 0.0) {
        return select(select(INF_BITS, NEG_INF_BITS, sum < 0.0), u.dispatch.empty, sum == 0.0);
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
