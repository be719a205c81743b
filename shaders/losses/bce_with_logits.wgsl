// Binary cross-entropy of logits x with targets t, weights w, weights p of the positive part and label smoothing e:
//
//   y = (1 - e) t + e / 2
//   loss = w ((1 - y) softplus(x) + p y softplus(-x)),  softplus(x) = max(x, 0) + log1p(exp(-|x|))
//   dloss/dx = w ((1 - y) sigmoid(x) - p y sigmoid(-x))
//   dloss/dt = (1 - e) w (p softplus(-x) - softplus(x))
//
// by softplus(x)' = sigmoid(x), softplus(-x)' = -sigmoid(-x) and dy/dt = 1 - e.
//
// https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html
//
// x = +-inf gives the limits: 0 where the infinite term's coefficient is 0, and finite gradients.

struct Params {
    hard: f32,          // 1 - e
    soft: f32,          // e / 2
}

fn item(in: Item) -> ItemGrad {
    let y = params.hard * finite_or_zero(in.t) + params.soft;
    let negative = in.w * (1.0 - y);
    let positive = in.w * in.pos_weight * y;
    let x = logistic(in.x);
    var loss = bitcast<u32>((negative * max(x.v, 0.0) + positive * max(-x.v, 0.0)) + (negative + positive) * x.rest);
    if (infinite_or_nan(in.x)) {
        let coefficient = select(negative, positive, in.x == NEG_INF_BITS);
        loss = select(x_mul(bitcast<u32>(coefficient), INF_BITS), 0u, coefficient == 0.0);
    }
    let nan_mask = nan_mask_of(in.x) | select(0u, NAN_BITS, infinite_or_nan(in.t));
    let g = in.g * in.w;
    let dx = g * (1.0 - y) * x.p - g * in.pos_weight * y * x.q;
    let minus = bitcast<f32>(softplus_bits(x_neg(in.x), opposite(x)));
    let dt = (params.hard * g * in.pos_weight) * minus - (params.hard * g) * bitcast<f32>(softplus_bits(in.x, x));
    return ItemGrad(select(loss, NAN_BITS, nan_mask != 0u), dx, dt, nan_mask, nan_mask_of(in.x));
}
