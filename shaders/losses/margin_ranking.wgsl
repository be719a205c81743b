// Margin ranking loss of two scores x1, x2, target t = +-1 (which should be larger), margin m:
//
//   loss = max(0, m - t (x1 - x2))        dloss/dx1 = -t where that is > 0, else 0;  dloss/dx2 = -dloss/dx1
//
// https://docs.pytorch.org/docs/stable/generated/torch.nn.MarginRankingLoss.html

struct Params {
    margin: f32,
}

fn item(in: Item) -> ItemGrad {
    // Halves: the difference of two finite floats may overflow.
    let half_difference = x_add(half_bits(in.x), x_neg(half_bits(in.second)));
    let half_z = x_add(bitcast<u32>(0.5 * params.margin), x_neg(x_mul(in.t, half_difference)));
    let dx = select(0.0, -in.g * bitcast<f32>(in.t), x_positive(half_z));
    return ItemGrad(x_twice(x_relu(half_z)), dx, -dx, 0u, 0u);
}
