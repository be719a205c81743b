// Sigmoid focal loss of logits x with targets t, class balance a and focus g; p = sigmoid(x), q = 1 - p = sigmoid(-x):
//
//   ce = (1 - t) softplus(x) + t softplus(-x)
//   left = 1 - p_t = p (1 - t) + q t
//   a_t = a t + (1 - a) (1 - t), or 1 without a
//   loss = a_t left^g ce
//   dloss/dx = a_t left^g (g r ce + (1 - t) p - t q),  r = left' / left = p q (1 - 2 t) / left
//
// The gradient, with ' for d/dx: p' = p q and q' = -p q, so left' = p q (1 - t) - p q t = p q (1 - 2 t). And
// softplus(x)' = p, so ce' = (1 - t) p - t q. By the product rule
//   (left^g ce)' = g left^(g - 1) left' ce + left^g ce' = left^g (g r ce + ce')
// Where g is no whole number, left^(g - 1), which overflows for g < 1, does not occur: r is bounded (-p at t = 1, q at t = 0).
//
// x = +-inf gives the limits.
//
// T. Lin et al., Focal loss for dense object detection, https://arxiv.org/abs/1708.02002
// torchvision.ops.sigmoid_focal_loss

struct Params {
    gamma: f32,         // g
    alpha: f32,         // a; < 0: off
}

// gamma is 0, 1, .. 7: no logarithm and no division by `left` is needed.
override WHOLE_GAMMA: bool = false;

// left^g and its derivative.
struct Focus {
    power: f32,
    slope: f32,
}

// `slope`: of left; `limit`: of slope / left as left goes to 0.
fn focus(left: f32, slope: f32, limit: f32) -> Focus {
    if (WHOLE_GAMMA) {
        let g = u32(params.gamma);
        let below = whole_power(left, max(g, 1u) - 1u);
        return Focus(select(below * left, 1.0, g == 0u), params.gamma * below * slope);
    }
    let power = unit_power(left, params.gamma);
    return Focus(power, power * params.gamma * select(limit, slope / left, left > 0.0));
}

fn item(in: Item) -> ItemGrad {
    let t = finite_or_zero(in.t);
    let logit = logistic(in.x);
    let p = logit.p;
    let q = logit.q;
    let x = finite_or_zero(in.x);
    let left = p * (1.0 - t) + q * t;
    let focused = focus(left, p * q * (1.0 - 2.0 * t), select(-p, q, t < 0.5));
    let a_t = select(params.alpha * t + (1.0 - params.alpha) * (1.0 - t), 1.0, params.alpha < 0.0);
    let factor = a_t * focused.power;
    let ce = ((1.0 - t) * max(x, 0.0) + t * max(-x, 0.0)) + logit.rest;
    var loss = bitcast<u32>(factor * ce);
    if (infinite_or_nan(in.x)) {
        let coefficient = factor * select(1.0 - t, t, in.x == NEG_INF_BITS);
        loss = select(x_mul(bitcast<u32>(coefficient), INF_BITS), 0u, coefficient == 0.0);
    }
    let dx = a_t * (focused.slope * ce) + factor * ((1.0 - t) * p - t * q);
    let nan_mask = nan_mask_of(in.x) | select(0u, NAN_BITS, infinite_or_nan(in.t));
    return ItemGrad(select(loss, NAN_BITS, nan_mask != 0u), in.g * dx, 0.0, nan_mask, 0u);
}
