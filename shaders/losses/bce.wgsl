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

fn in_unit_interval(bits: u32) -> bool {
    return bits <= 0x3f800000u || bits == 0x80000000u;
}

// log v as bits, -inf at 0.
fn log_bits(v: f32) -> u32 {
    let bits = bitcast<u32>(v) & ABS_BITS;
    return select(bitcast<u32>(ln_bits(bits)), NEG_INF_BITS, bits == 0u);
}

// log(1 - x) as bits, -inf at 1: the series keeps the digits of a small x.
fn log_rest_bits(x: f32) -> u32 {
    return select(log_bits(1.0 - x), bitcast<u32>(log1p_series(-min(x, 0.25))), x <= 0.25);
}

// A log, at least -100.
fn clamped(log: u32) -> f32 {
    return select(max(finite_or_zero(log), -100.0), -100.0, log == NEG_INF_BITS);
}

fn item(in: Item) -> ItemGrad {
    if (!in_unit_interval(in.x) || !in_unit_interval(in.t)) {
        return ItemGrad(BAD_BITS, 0.0, 0.0, select(0u, NAN_BITS, assume_finite), 0u);
    }
    let x = bitcast<f32>(in.x);
    let t = bitcast<f32>(in.t);
    let log_x = log_bits(x);
    let log_rest = log_rest_bits(x);
    let loss = -in.w * (t * clamped(log_x) + (1.0 - t) * clamped(log_rest));
    let dx = in.w * (x - t) / max(x * (1.0 - x), 1e-12);
    let dt = x_mul(bitcast<u32>(in.w), x_add(log_rest, x_neg(log_x)));
    // log 0 is infinite, and so is dt.
    let needs_exact = assume_finite && WANT_GRAD_SECOND && (log_x == NEG_INF_BITS || log_rest == NEG_INF_BITS);
    return ItemGrad(bitcast<u32>(loss), dx, bitcast<f32>(dt), select(0u, NAN_BITS, needs_exact), nan_mask_of(dt));
}
