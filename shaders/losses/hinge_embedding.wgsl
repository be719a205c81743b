// Hinge embedding loss of distances x with targets t = +-1 and margin m:
//
//   loss = x where t = 1;  max(0, m - x) where t = -1;  both added for any other t, as in PyTorch
//
// https://docs.pytorch.org/docs/stable/generated/torch.nn.HingeEmbeddingLoss.html

struct Params {
    margin: f32,
}

const ONE_BITS = 0x3f800000u;
const MINUS_ONE_BITS = 0xbf800000u;

fn item(in: Item) -> ItemGrad {
    let z = x_add(bitcast<u32>(params.margin), x_neg(in.x));
    // Which of the two branches count.
    let near = in.t != MINUS_ONE_BITS;
    let far = in.t != ONE_BITS;
    let loss = x_add(select(0u, in.x, near), select(0u, x_relu(z), far));
    let slope = select(0.0, 1.0, near) - select(0.0, 1.0, far & x_positive(z));
    return ItemGrad(loss, in.g * slope, 0.0, 0u, 0u);
}
