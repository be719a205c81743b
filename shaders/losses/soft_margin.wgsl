// Soft margin loss (logistic loss) of scores x with targets t = +-1, or any real t; z = -t x:
//
//   loss = log(1 + exp z) = max(z, 0) + log1p(exp(-|z|))        dloss/dx = -t sigmoid(z)
//
// https://docs.pytorch.org/docs/stable/generated/torch.nn.SoftMarginLoss.html

struct Params {
    spare: u32,
}

fn item(in: Item) -> ItemGrad {
    let z = x_neg(x_mul(in.t, in.x));
    let score = logistic(z);
    return ItemGrad(softplus_bits(z, score), -in.g * (bitcast<f32>(in.t) * score.p), 0.0, nan_mask_of(z), 0u);
}
