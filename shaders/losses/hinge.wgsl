// Hinge loss of scores x with targets t = +-1 and margin m:
//
//   loss = max(0, m - t x)        dloss/dx = -t where m - t x > 0, else 0 (at the corner too)
//
// C. Cortes, V. Vapnik, Support-vector networks, 1995.

struct Params {
    margin: f32,
}

fn item(in: Item) -> ItemGrad {
    let z = x_add(bitcast<u32>(params.margin), x_neg(x_mul(in.t, in.x)));
    return ItemGrad(x_relu(z), select(0.0, -in.g * bitcast<f32>(in.t), x_positive(z)), 0.0, 0u, 0u);
}
