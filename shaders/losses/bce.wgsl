// Binary cross-entropy of probabilities x with targets t in [0, 1] and weights w:
//
//   loss = -w (t log x + (1 - t) log(1 - x)), each log at least -100
//   dloss/dx = w (x - t) / max(x (1 - x), 1e-12)        dloss/dt = w (log(1 - x) - log x), not clamped
//
// dloss/dx without the bound is w ((1 - t) / (1 - x) - t / x), over one denominator.
//
// https://docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html

struct Params {
    spare: u32,
}

// While `assume_finite`, -0 is left to exact arithmetic.
fn in_unit_interval(bits: u32) -> bool {
    return (bits <= 0x3f800000u) | (!assume_finite & (bits == 0x80000000u));
}

// v = 2^k (1 + f), where 1 + f lies between sqrt(1/2) and sqrt 2.
struct Parts {
    k: f32,
    f: f32,
}

fn parts_of(bits: u32) -> Parts {
    let shifted = bits - 0x3f3504f3u;
    let m = bitcast<f32>((shifted & 0x007fffffu) + 0x3f3504f3u);
    return Parts(f32(bitcast<i32>(shifted) >> 23u), m - 1.0);
}

fn log_of(parts: Parts) -> f32 {
    // Two halves of ln 2: k * 0.693359375 is exact.
    return parts.k * 0.693359375 + (log1p_mantissa(parts.f) - parts.k * 2.12194440e-4);
}

// log x as bits, -inf at 0.
fn log_bits(x: f32) -> u32 {
    let bits = bitcast<u32>(x) & ABS_BITS;
    // A subnormal is its bits times 2^-149.
    let subnormal = bits < 0x00800000u;
    var parts = parts_of(select(bits, bitcast<u32>(f32(max(bits, 1u))), subnormal));
    parts.k -= select(0.0, 149.0, subnormal);
    return select(bitcast<u32>(log_of(parts)), NEG_INF_BITS, bits == 0u);
}

// log(1 - x) as bits, -inf at 1.
fn log_rest_bits(x: f32) -> u32 {
    let rest = 1.0 - x;
    var parts = parts_of(bitcast<u32>(rest));
    // There k is 0, and x has digits that 1 - x has lost.
    parts.f = select(parts.f, -x, x <= 0.25);
    return select(bitcast<u32>(log_of(parts)), NEG_INF_BITS, rest == 0.0);
}

// A log, at least -100.
fn clamped(log: u32) -> f32 {
    return select(max(finite_or_zero(log), -100.0), -100.0, log == NEG_INF_BITS);
}

fn item(in: Item) -> ItemGrad {
    let valid = in_unit_interval(in.x) & in_unit_interval(in.t);
    let usable = valid | assume_finite;
    let x = bitcast<f32>(select(0u, in.x, usable));
    let t = bitcast<f32>(select(0u, in.t, usable));
    let log_x = log_bits(x);
    let log_rest = log_rest_bits(x);
    let loss = -in.w * (t * clamped(log_x) + (1.0 - t) * clamped(log_rest));
    let g = in.g * in.w;
    let dx = g * ((x - t) / max(x * (1.0 - x), 1e-12));
    let dt = x_mul(bitcast<u32>(g), x_add(log_rest, x_neg(log_x)));
    // log 0 is infinite, and so is dt.
    let infinite = WANT_GRAD_SECOND & ((log_x == NEG_INF_BITS) | (log_rest == NEG_INF_BITS));
    return ItemGrad(
        select(BAD_BITS, bitcast<u32>(loss), usable),
        select(0.0, dx, usable),
        select(0.0, bitcast<f32>(dt), usable),
        select(0u, NAN_BITS, assume_finite & (!valid | infinite)),
        select(0u, nan_mask_of(dt), usable),
    );
}
