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
    label: Label,
}

struct Acc {
    loss: RunSum,       // of finite terms
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
    open_class_weights(at);
    return Row(at, label_of_row(index, Label(NO_CLASS, COUNTS)));
}

fn skips_row(row: Row) -> bool {
    return row.label.state != COUNTS;
}

fn left_out(row: Row) -> u32 {
    return NO_CLASS;
}

fn acc_new() -> Acc {
    return Acc(run_sum_new(), 0u);
}

fn acc_move(acc: Acc) -> Acc {
    return Acc(run_sum_close(acc.loss), acc.flags);
}

// w_c / C of four classes.
fn shares(j: u32) -> vec4<f32> {
    return class_weights(classes_of(j)) * params.per_class;
}

// softplus(x) = max(x, 0) + log(1 + exp(-|x|)), and y and 1 - y add up to 1.
fn term_four(row: Row, acc: Acc, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    let share = shares(j);
    if (assume_finite) {
        let v = bitcast<vec4<f32>>(x);
        let t = bitcast<vec4<f32>>(y);
        let positive = t * max(-v, vec4<f32>(0.0)) + (1.0 - t) * max(v, vec4<f32>(0.0));
        return bitcast<vec4<u32>>(share * (positive + log1p_series4(exp_twice4(-0.5 * abs(v)))));
    }
    return vec4<u32>(
        class_term(x.x, y.x, share.x), class_term(x.y, y.y, share.y),
        class_term(x.z, y.z, share.z), class_term(x.w, y.w, share.w),
    );
}

// The bits of one class' term of the loss.
fn class_term(bits: u32, y: u32, share: f32) -> u32 {
    let of_positive = x_mul(bitcast<u32>(share), y);
    let of_negative = x_mul(bitcast<u32>(share), x_add(0x3f800000u, x_neg(y)));
    let logit = logistic(bits);
    let plus = softplus_bits(bits, logit);
    let minus = softplus_bits(x_neg(bits), opposite(logit));
    return x_add(x_mul(of_positive, minus), x_mul(of_negative, plus));
}

fn flags_of(term: u32) -> u32 {
    return select(0u, FOUND_NAN, is_nan(term)) | select(0u, FOUND_INF, term == INF_BITS)
        | select(0u, FOUND_NEG_INF, term == NEG_INF_BITS);
}

fn add_four(before: Acc, row: Row, term: vec4<u32>, x: vec4<u32>, y: vec4<u32>, j: u32, exists: vec4<bool>) -> Acc {
    if (assume_finite) {
        return Acc(run_sum_add(before.loss, bitcast<vec4<f32>>(term)), before.flags);
    }
    let finite = vec4<f32>(finite_or_zero(term.x), finite_or_zero(term.y), finite_or_zero(term.z), finite_or_zero(term.w));
    return Acc(
        run_sum_add(before.loss, finite),
        before.flags | flags_of(term.x) | flags_of(term.y) | flags_of(term.z) | flags_of(term.w),
    );
}

fn acc_join(acc: Acc) -> Acc {
    return Acc(run_sum_join(acc.loss), group_or(acc.flags));
}

fn row_result(row: Row, acc: Acc, upstream: Scale) -> RowResult {
    var loss = bitcast<u32>(run_sum_value(acc.loss));
    let both = FOUND_INF | FOUND_NEG_INF;
    if (skips_row(row)) {
        loss = skipped_loss(row.label);
    } else if (((acc.flags & FOUND_NAN) != 0u) | ((acc.flags & both) == both)) {
        loss = NAN_BITS;
    } else if (acc.flags != 0u) {
        loss = select(INF_BITS, NEG_INF_BITS, acc.flags == FOUND_NEG_INF);
    }
    return RowResult(loss, upstream.nan_mask, upstream.factor);
}

fn grad_four(row: Row, acc: Acc, result: RowResult, term: vec4<u32>, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    let scale = result.scale * shares(j);
    if (assume_finite) {
        let v = bitcast<vec4<f32>>(x);
        let t = bitcast<vec4<f32>>(y);
        let e = exp_twice4(-0.5 * abs(v));
        let small = e / (1.0 + e);
        let large = 1.0 / (1.0 + e);
        let is_positive = v >= vec4<f32>(0.0);
        let g = (1.0 - t) * select(small, large, is_positive) - t * select(large, small, is_positive);
        return bitcast<vec4<u32>>(scale * g);
    }
    return vec4<u32>(
        grad_class(x.x, y.x, scale.x), grad_class(x.y, y.y, scale.y),
        grad_class(x.z, y.z, scale.z), grad_class(x.w, y.w, scale.w),
    );
}

fn grad_class(bits: u32, y_bits: u32, scale: f32) -> u32 {
    let y = bitcast<f32>(y_bits);
    let logit = logistic(bits);
    let g = scale * ((1.0 - y) * logit.p - y * logit.q);
    return bitcast<u32>(g) | nan_mask_of(bits) | nan_mask_of(y_bits);
}

fn holds_terms() -> bool {
    return false;
}

fn grad_left_out(row: Row, result: RowResult) -> u32 {
    return 0u;
}

fn grad_target_four(row: Row, acc: Acc, result: RowResult, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    return vec4<u32>(0u);
}
