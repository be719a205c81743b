// Multi-label soft margin loss of rows of logits x with targets y in {0, 1} (or soft) and class weights w:
//
//   loss = 1 / C sum_c w_c (y_c softplus(-x_c) + (1 - y_c) softplus(x_c))
//   dloss/dx_c = w_c / C ((1 - y_c) sigmoid(x_c) - y_c sigmoid(-x_c))
//
// by softplus(x)' = sigmoid(x) and softplus(-x)' = -sigmoid(-x).
//
// https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiLabelSoftMarginLoss.html

struct Params {
    per_class: f32,     // 1 / C
}

const ACCUMULATES = true;

struct Row {
    at: u32,
}

struct Acc {
    loss: f32,          // of finite terms
    lo: f32,            // what rounding added to `loss` too much
    flags: u32,         // of the others
}

struct RowResult {
    loss: u32,
    nan_mask: u32,
    scale: f32,
}

const FOUND_NAN = 1u;
const FOUND_INF = 2u;
const FOUND_NEG_INF = 4u;

fn open_row(index: u32, at: u32) -> Row {
    return Row(at);
}

fn skips_row(row: Row) -> bool {
    return false;
}

fn acc_new() -> Acc {
    return Acc(0.0, 0.0, 0u);
}

// w_c / C of four classes.
fn shares(j: u32) -> vec4<f32> {
    return class_weights(j) * params.per_class;
}

// The bits of one class' term of the loss.
fn class_term(bits: u32, y: u32, share: f32, j: u32) -> u32 {
    if (j >= u.dispatch.classes) {
        return 0u;
    }
    let rest = x_add(0x3f800000u, x_neg(y));
    let term = x_add(x_mul(y, x_softplus(x_neg(bits))), x_mul(rest, x_softplus(bits)));
    return x_mul(bitcast<u32>(share), term);
}

fn flags_of(term: u32) -> u32 {
    return select(0u, FOUND_NAN, is_nan(term)) | select(0u, FOUND_INF, term == INF_BITS)
        | select(0u, FOUND_NEG_INF, term == NEG_INF_BITS);
}

fn acc_four(acc: Acc, row: Row, bits: vec4<u32>, j: u32) -> Acc {
    let y = target_four(row.at, j);
    let share = shares(j);
    let a = class_term(bits.x, y.x, share.x, j);
    let b = class_term(bits.y, y.y, share.y, j + 1u);
    let c = class_term(bits.z, y.z, share.z, j + 2u);
    let d = class_term(bits.w, y.w, share.w, j + 3u);
    let sum = (finite_or_zero(a) + finite_or_zero(b)) + (finite_or_zero(c) + finite_or_zero(d));
    return Acc(acc.loss + sum, acc.lo, acc.flags | flags_of(a) | flags_of(b) | flags_of(c) | flags_of(d));
}

fn acc_add(acc: Acc, row: Row, block: Block) -> Acc {
    let a = acc_four(acc_new(), row, block.a, block.first.x);
    let b = acc_four(a, row, block.b, block.first.y);
    let c = acc_four(b, row, block.c, block.first.z);
    let d = acc_four(c, row, block.d, block.first.w);
    // Kahan's sum over blocks.
    let added = d.loss - acc.lo;
    let sum = opaque(acc.loss + added);
    return Acc(sum, opaque(sum - acc.loss) - added, acc.flags | d.flags);
}

fn acc_join(acc: Acc) -> Acc {
    return Acc(group_sum(acc.loss - acc.lo), 0.0, group_or(acc.flags));
}

fn row_result(row: Row, acc: Acc, upstream: Scale) -> RowResult {
    var loss = bitcast<u32>(acc.loss);
    let both = FOUND_INF | FOUND_NEG_INF;
    if ((acc.flags & FOUND_NAN) != 0u || (acc.flags & both) == both) {
        loss = NAN_BITS;
    } else if (acc.flags != 0u) {
        loss = select(INF_BITS, NEG_INF_BITS, acc.flags == FOUND_NEG_INF);
    }
    return RowResult(loss, upstream.nan_mask, upstream.factor);
}

fn grad_class(bits: u32, y_bits: u32, scale: f32) -> u32 {
    let y = bitcast<f32>(y_bits);
    let g = scale * ((1.0 - y) * sigmoid(bits) - y * sigmoid(x_neg(bits)));
    return bitcast<u32>(g) | nan_mask_of(bits) | nan_mask_of(y_bits);
}

fn grad_four(row: Row, result: RowResult, bits: vec4<u32>, j: u32) -> vec4<u32> {
    let y = target_four(row.at, j);
    let scale = result.scale * shares(j);
    return vec4<u32>(
        grad_class(bits.x, y.x, scale.x),
        grad_class(bits.y, y.y, scale.y),
        grad_class(bits.z, y.z, scale.z),
        grad_class(bits.w, y.w, scale.w),
    );
}

fn grad_target_four(row: Row, result: RowResult, bits: vec4<u32>, j: u32) -> vec4<u32> {
    return vec4<u32>(0u);
}
