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
    return ItemGrad(x_softplus(z), -bitcast<f32>(in.t) * sigmoid(z), 0.0, nan_mask_of(z), 0u);
}
