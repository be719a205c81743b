// Kullback-Leibler divergence between log-probabilities x and targets t:
//
//   loss = t (log t - x)                 t = 0 gives 0, t < 0 gives NaN
//   dloss/dx = -t                        dloss/dt = log t + 1 - x, NaN at t = 0 as in PyTorch
//
// or, with targets in log space (LOG_TARGET):
//
//   loss = exp t (t - x)                 dloss/dx = -exp t             dloss/dt = exp t (t - x + 1)
//
// https://docs.pytorch.org/docs/stable/generated/torch.nn.KLDivLoss.html

struct Params {
    log_target: u32,
}

fn in_log_space(in: Item) -> Answer {
    let overflow = in.t == INF_BITS;
    let p = select(select(exp_any(finite_or_zero(in.t)), 0.0, in.t == NEG_INF_BITS), 1.0, is_nan(in.t));
    let p_bits = select(bitcast<u32>(p), in.t, overflow || is_nan(in.t));
    let difference = x_add(in.t, x_neg(in.x));
    let dt = x_mul(p_bits, x_add(difference, 0x3f800000u));
    return Answer(x_mul(p_bits, difference), -bitcast<f32>(p_bits), bitcast<f32>(dt), nan_poison(in.t), nan_poison(dt));
}

fn item(in: Item) -> Answer {
    if (u.params.log_target != 0u) {
        return in_log_space(in);
    }
    let zero = (in.t & ABS_BITS) == 0u;
    let defined = zero || x_positive(in.t);
    let log_t = select(select(bitcast<u32>(ln_bits(in.t & ABS_BITS)), in.t, !is_finite(in.t)), 0u, zero);
    // t log t is 0 at 0; t x is NaN for t = 0 and x infinite, as in PyTorch.
    let difference = x_add(log_t, x_neg(in.x));
    let loss = select(NAN_BITS, x_mul(in.t, difference), defined);
    let dt = select(NAN_BITS, x_add(x_add(log_t, x_neg(in.x)), 0x3f800000u), defined && !zero);
    return Answer(loss, -bitcast<f32>(in.t), bitcast<f32>(dt), nan_poison(in.t), nan_poison(dt));
}
