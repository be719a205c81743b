// Squared hinge loss of scores x with targets t = +-1 and margin m, with z = m - t x:
//
//   loss = max(0, z)^2        dloss/dx = -2 t max(0, z)

struct Params {
    margin: f32,
}

fn item(in: Item) -> ItemGrad {
    let z = x_relu(x_add(bitcast<u32>(params.margin), x_neg(x_mul(in.t, in.x))));
    // Opaque, as compilers may multiply 2 t z first, which may overflow.
    let dx = select(0.0, opaque(-2.0 * in.g * bitcast<f32>(in.t)) * bitcast<f32>(z), x_positive(z));
    return ItemGrad(x_mul(z, z), dx, 0.0, 0u, 0u);
}
