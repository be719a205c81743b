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
    spare: u32,
}

override LOG_TARGET: bool = false;

// Up to this t, exp t is far from infinity.
const FINITE_LOG_TARGET = 64.0;

fn in_log_space(in: Item) -> ItemGrad {
    let t = finite_or_zero(in.t);
    if (assume_finite) {
        let p = exp_twice(0.5 * min(t, FINITE_LOG_TARGET));
        let difference = t - bitcast<f32>(in.x);
        let nan_mask = select(0u, NAN_BITS, t > FINITE_LOG_TARGET);
        return ItemGrad(bitcast<u32>(p * difference), -in.g * p, in.g * p * (difference + 1.0), nan_mask, 0u);
    }
    let overflow = in.t == INF_BITS;
    let p = select(select(exp_any(t), 0.0, in.t == NEG_INF_BITS), 1.0, is_nan(in.t));
    let p_bits = select(bitcast<u32>(p), in.t, overflow | is_nan(in.t));
    // Halves: the difference of two finite floats may overflow, though p is 0.
    let half_difference = x_add(half_bits(in.t), x_neg(half_bits(in.x)));
    let half_loss = x_mul(p_bits, half_difference);
    let g = x_mul(bitcast<u32>(in.g), p_bits);
    let half_dt = x_mul(g, x_add(half_difference, 0x3f000000u));
    return ItemGrad(
        x_twice(half_loss),
        -bitcast<f32>(g),
        bitcast<f32>(x_twice(half_dt)),
        nan_mask_of(in.t),
        nan_mask_of(half_dt),
    );
}

fn item(in: Item) -> ItemGrad {
    if (LOG_TARGET) {
        return in_log_space(in);
    }
    let zero = (in.t & ABS_BITS) == 0u;
    let defined = zero | x_positive(in.t);
    let log_t = select(select(bitcast<u32>(ln_bits(in.t & ABS_BITS)), in.t, infinite_or_nan(in.t)), 0u, zero);
    // t log t is 0 at 0; t x is NaN for t = 0 and x infinite, as in PyTorch.
    let difference = x_add(log_t, x_neg(in.x));
    let loss = select(NAN_BITS, x_mul(in.t, difference), defined);
    let dt = select(NAN_BITS, x_add(difference, 0x3f800000u), defined & !zero);
    let nan_mask = nan_mask_of(in.t) | select(0u, NAN_BITS, assume_finite & !defined);
    return ItemGrad(
        loss,
        -in.g * bitcast<f32>(in.t),
        bitcast<f32>(x_mul(bitcast<u32>(in.g), dt)),
        nan_mask,
        select(0u, NAN_BITS, is_nan(dt)),
    );
}
