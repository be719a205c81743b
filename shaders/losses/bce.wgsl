// Binary cross-entropy of probabilities x with targets t in [0, 1] and weights w:
//
//   loss = -w (t log x + (1 - t) log(1 - x)), each log at least -100
//   dloss/dx = w (x - t) / max(x (1 - x), 1e-12)        dloss/dt = w (log(1 - x) - log x)
//
// https://docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html

struct Params {
    spare: u32,
}

fn in_unit_interval(bits: u32) -> bool {
    return bits <= 0x3f800000u || bits == 0x80000000u;
}

fn clamped_log(v: f32) -> f32 {
    let bits = bitcast<u32>(v) & ABS_BITS;
    return select(max(ln_bits(bits), -100.0), -100.0, bits == 0u);
}

// log(1 - x): the series keeps the digits of a small x.
fn clamped_log_of_rest(x: f32) -> f32 {
    return select(clamped_log(1.0 - x), log1p_series(-min(x, 0.25)), x <= 0.25);
}

fn item(in: Item) -> Answer {
    if (!in_unit_interval(in.x) || !in_unit_interval(in.t)) {
        return Answer(BAD_BITS, 0.0, 0.0, 0u, 0u);
    }
    let x = bitcast<f32>(in.x);
    let t = bitcast<f32>(in.t);
    let log_x = clamped_log(x);
    let log_rest = clamped_log_of_rest(x);
    let loss = -in.w * (t * log_x + (1.0 - t) * log_rest);
    let dx = in.w * (x - t) / max(x * (1.0 - x), 1e-12);
    return Answer(bitcast<u32>(loss), dx, in.w * (log_rest - log_x), 0u, 0u);
}
