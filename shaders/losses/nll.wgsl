// Negative log-likelihood of rows of log-probabilities x with class index t and class weights w:
//
//   loss = -w_t x_t        dloss/dx_j = -w_t where j = t, else 0
//
// https://docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html
//
// Only x_t is read; the other log-probabilities may hold anything.

struct Params {
    spare: vec4<u32>,
}

const ACCUMULATES = false;

struct Row {
    at: u32,
    label: Label,
}

struct Acc {
    nothing: u32,
}

struct RowResult {
    loss: u32,
    nan_mask: u32,
    at_label: u32,      // bits of the gradient at t
}

fn open_row(index: u32, at: u32) -> Row {
    return Row(at, label_of_row(index, read_label(target_index(index))));
}

fn skips_row(row: Row) -> bool {
    return row.label.state != COUNTS;
}

fn left_out(row: Row) -> u32 {
    return row.label.class_index;
}

fn acc_new() -> Acc {
    return Acc(0u);
}

fn acc_move(acc: Acc) -> Acc {
    return acc;
}

fn term_four(row: Row, acc: Acc, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    return vec4<u32>(0u);
}

fn add_four(acc: Acc, row: Row, term: vec4<u32>, x: vec4<u32>, y: vec4<u32>, j: u32, exists: vec4<bool>) -> Acc {
    return acc;
}

fn acc_join(acc: Acc) -> Acc {
    return acc;
}

fn row_result(row: Row, acc: Acc, upstream: Scale) -> RowResult {
    let w = class_weight(row.label.class_index);
    let bits = load_logit(row.at, row.label.class_index);
    var loss = bitcast<u32>(-w * ordinary(bits));
    if (skips_row(row)) {
        loss = skipped_loss(row.label);
    } else if (is_nan(bits) | (!is_finite(bits) & (w == 0.0))) {
        loss = NAN_BITS;
    } else if (!is_finite(bits)) {
        loss = select(INF_BITS, NEG_INF_BITS, (bits == INF_BITS) == (w > 0.0));
    }
    return RowResult(loss, 0u, bitcast<u32>(-upstream.factor * w) | upstream.nan_mask);
}

fn grad_four(row: Row, acc: Acc, result: RowResult, term: vec4<u32>, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    return vec4<u32>(0u);
}

fn holds_terms() -> bool {
    return true;
}

fn grad_left_out(row: Row, result: RowResult) -> u32 {
    return result.at_label;
}

fn grad_target_four(row: Row, acc: Acc, result: RowResult, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    return vec4<u32>(0u);
}
