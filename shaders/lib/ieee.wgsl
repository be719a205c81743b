// Arithmetic on bits that may be NaN or infinite, as IEEE 754 has it but without relying on float operations that
// meet NaN or infinity.

// While set, operands and results are known to be finite, or will be computed once more where they are not: then plain float
// arithmetic gives the same bits. A constant wherever it is read, once functions are inlined.
var<private> assume_finite: bool = false;

fn finite_or_zero(bits: u32) -> f32 {
    return bitcast<f32>(select(0u, bits, assume_finite | is_finite(bits)));
}

fn infinite_or_nan(bits: u32) -> bool {
    return !(assume_finite | is_finite(bits));
}

fn x_neg(a: u32) -> u32 {
    return a ^ 0x80000000u;
}

fn x_add(a: u32, b: u32) -> u32 {
    let sum = bitcast<u32>(finite_or_zero(a) + finite_or_zero(b));
    if (assume_finite) {
        return sum;
    }
    let clash = !(is_finite(a) | is_finite(b)) & (a != b);
    let infinite = select(b, a, !is_finite(a));
    let result = select(sum, infinite, !(is_finite(a) & is_finite(b)));
    return select(result, NAN_BITS, is_nan(a) | is_nan(b) | clash);
}

fn x_mul(a: u32, b: u32) -> u32 {
    let product = bitcast<u32>(finite_or_zero(a) * finite_or_zero(b));
    if (assume_finite) {
        return product;
    }
    let zero_times_inf = ((a & ABS_BITS) == 0u) | ((b & ABS_BITS) == 0u);
    let infinite = select(((a ^ b) & 0x80000000u) | INF_BITS, NAN_BITS, zero_times_inf);
    let result = select(product, infinite, !(is_finite(a) & is_finite(b)));
    return select(result, NAN_BITS, is_nan(a) | is_nan(b));
}

// a > 0, false for NaN.
fn x_positive(a: u32) -> bool {
    if (assume_finite) {
        return bitcast<f32>(a) > 0.0;
    }
    return (a > 0u) & (a <= INF_BITS);
}

// max(a, 0), NaN for NaN.
fn x_relu(a: u32) -> u32 {
    return select(0u, a, x_positive(a) | (!assume_finite & is_nan(a)));
}

// Sigmoid and softplus of v and of -v, which share one exp and one division.
struct Logistic {
    v: f32,         // finite: in place of an infinity the largest number, of NaN 0
    p: f32,         // sigmoid(v), 0.5 for NaN (the caller makes the result NaN by a mask)
    q: f32,         // sigmoid(-v)
    rest: f32,      // log1p(exp(-|v|)): softplus(v) is this and max(v, 0)
}

fn logistic(a: u32) -> Logistic {
    let infinite = !assume_finite & ((a & ABS_BITS) == INF_BITS);
    let v = select(finite_or_zero(a), bitcast<f32>((a & 0x80000000u) | 0x7f7fffffu), infinite);
    let e = exp_twice(-0.5 * abs(v));
    let large = 1.0 / (1.0 + e);
    let small = e * large;
    return Logistic(v, select(small, large, v >= 0.0), select(large, small, v >= 0.0), log1p_unit(e));
}

// Of -v.
fn opposite(given: Logistic) -> Logistic {
    return Logistic(-given.v, given.q, given.p, given.rest);
}

// log(1 + exp a), given the logistic of a.
fn softplus_bits(a: u32, given: Logistic) -> u32 {
    return select(bitcast<u32>(max(given.v, 0.0) + given.rest), x_relu(a), infinite_or_nan(a));
}

fn nan_mask_of(a: u32) -> u32 {
    return select(0u, NAN_BITS, !assume_finite & is_nan(a));
}

// a / 2: the difference of two finite floats may overflow, that of their halves cannot.
fn half_bits(a: u32) -> u32 {
    return select(a, bitcast<u32>(0.5 * finite_or_zero(a)), is_finite(a));
}

// 2 a.
fn x_twice(a: u32) -> u32 {
    return select(twice_bits(bitcast<f32>(a)), bitcast<u32>(2.0 * bitcast<f32>(a)), assume_finite);
}
