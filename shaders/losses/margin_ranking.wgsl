// Margin ranking loss of two scores x1, x2, target t = +-1 (which should be larger), margin m:
//
//   loss = max(0, m - t (x1 - x2))        dloss/dx1 = -t where that is > 0, else 0;  dloss/dx2 = -dloss/dx1
//
// https://docs.pytorch.org/docs/stable/generated/torch.nn.MarginRankingLoss.html

struct Params {
    margin: f32,
}

fn item(in: Item) -> ItemGrad {
    let difference = x_add(in.x, x_neg(in.second));
    let z = x_add(bitcast<u32>(params.margin), x_neg(x_mul(in.t, difference)));
    let dx = select(0.0, -bitcast<f32>(in.t), x_positive(z));
    return ItemGrad(x_relu(z), dx, -dx, 0u, 0u);
}
