// Sigmoid focal loss of logits x with targets t, class balance a and focus g; p = sigmoid(x), q = 1 - p = sigmoid(-x):
//
//   ce = (1 - t) softplus(x) + t softplus(-x)
//   u = 1 - p_t = p (1 - t) + q t
//   a_t = a t + (1 - a) (1 - t), or 1 without a
//   loss = a_t u^g ce
//   dloss/dx = a_t u^g (g r ce + (1 - t) p - t q),  r = u' / u = p q (1 - 2 t) / u
//
// T. Lin et al., Focal loss for dense object detection, https://arxiv.org/abs/1708.02002; torchvision.ops.sigmoid_focal_loss.
//
// u^(g - 1), which overflows for g < 1, does not occur: r is bounded (-p at t = 1, q at t = 0). x = +-inf gives the limits.

struct Params {
    gamma: f32,
    alpha: f32,         // < 0: off
}

// gamma is 0, 1, .. 7: no logarithm is needed.
override WHOLE_GAMMA: bool = false;

fn focus(v: f32) -> f32 {
    if (WHOLE_GAMMA) {
        return whole_power(v, u32(params.gamma));
    }
    return unit_power(v, params.gamma);
}

fn item(in: Item) -> Answer {
    let t = finite_or_zero(in.t);
    let p = sigmoid(in.x);
    let q = sigmoid(x_neg(in.x));
    let x = finite_or_zero(in.x);
    let left = p * (1.0 - t) + q * t;
    let balance = select(params.alpha * t + (1.0 - params.alpha) * (1.0 - t), 1.0, params.alpha < 0.0);
    let factor = balance * focus(left);
    let ce = ((1.0 - t) * max(x, 0.0) + t * max(-x, 0.0)) + log1p_series(exp_twice(-0.5 * abs(x)));
    var loss = bitcast<u32>(factor * ce);
    if (infinite_or_nan(in.x)) {
        let coefficient = factor * select(1.0 - t, t, in.x == NEG_INF_BITS);
        loss = select(x_mul(bitcast<u32>(coefficient), INF_BITS), 0u, coefficient == 0.0);
    }
    let ratio = select(select(-p, q, t < 0.5), p * q * (1.0 - 2.0 * t) / left, left > 0.0);
    let dx = factor * (params.gamma * ratio * ce + ((1.0 - t) * p - t * q));
    let poison = nan_poison(in.x) | select(0u, NAN_BITS, infinite_or_nan(in.t));
    return Answer(select(loss, NAN_BITS, poison != 0u), dx, 0.0, poison, 0u);
}
