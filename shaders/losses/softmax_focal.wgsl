// Softmax focal loss of rows of logits x with class index t, focus g, class balance w and label smoothing e:
//
//   p_c = exp(x_c - m) / d            m = max x, d = sum exp(x_c - m)
//   q_c = (1 - e) [c = t] + e / C,  a_c = w_c q_c
//   loss = sum_c a_c f(p_c)           f(p) = -(1 - p)^g log p
//   dloss/dx_j = a_j h_j - p_j sum_c a_c h_c,  h_c = p_c f'(p_c) = (1 - p_c)^g (g p_c log p_c / (1 - p_c) - 1)
//
// The gradient. dp_c/dx_j = p_c ([c = j] - p_j), so
//   dloss/dx_j = sum_c a_c f'(p_c) p_c ([c = j] - p_j) = a_j h_j - p_j sum_c a_c h_c
// where f'(p) = g (1 - p)^(g - 1) log p - (1 - p)^g / p, which times p, with (1 - p)^g taken out, is h.
//
// T. Lin et al., Focal loss for dense object detection, https://arxiv.org/abs/1708.02002, with softmax for sigmoid
//
// Confident rows. s = sum over c != t of exp(x_c - m) is kept apart, so 1 - p_t = s / d keeps its digits. Without
// smoothing only a_t is not 0, and the gradient at t is a_t h_t (1 - p_t) = a_t h_t s / d. As p tends to 1,
// p log p / (1 - p) tends to -1: with h written like this, nothing is divided by 0 for g < 1.

struct Params {
    gamma: f32,         // g
    hard: f32,          // 1 - e
    soft: f32,          // e / C
}

override SMOOTHING: bool = false;

const ACCUMULATES = true;
const HAS_SECOND_PASS = true;

struct Row {
    at: u32,
    label: Label,
}

struct Acc {
    online: Soft,       // m / 2 of all classes, and s: without the target's
    // Of the second pass:
    finite: u32,        // 1 if some logit is finite
    nan: u32,           // 1 if some logit is NaN or +inf
    infinite: u32,      // 1 if a class with a_c != 0 has probability 0
    loss: f32,          // sum_c a_c f(p_c)
    sum_ah: f32,        // sum_c a_c h_c
}

struct SecondPass {
    loss: f32,
    sum_ah: f32,
    infinite: u32,
    finite: u32,
    nan: u32,
}

struct RowResult {
    loss: u32,
    nan_mask: u32,
    half_m: f32,
    log_d: f32,
    d: f32,
    s: f32,
    scale: f32,
    sum_ah: f32,
}

fn open_row(index: u32, at: u32) -> Row {
    return Row(at, read_label(target_index(index)));
}

fn skips_row(row: Row) -> bool {
    return row.label.state != COUNTS;
}

// a_c of four classes.
fn shares(row: Row, j: u32) -> vec4<f32> {
    let is_label = vec4<u32>(j) + IN_FOUR == vec4<u32>(row.label.class_index);
    return class_weights(j) * (params.soft + select(vec4<f32>(0.0), vec4<f32>(params.hard), is_label));
}

fn acc_new() -> Acc {
    return Acc(soft_new(), 0u, 0u, 0u, 0.0, 0.0);
}

// exp(x_c - m) of four classes, given h = (x_c - m) / 2; 0 for the target's and for classes past the row's end.
fn others(row: Row, block: Block, h: vec4<f32>, first: u32) -> vec4<f32> {
    let e = select(exp_twice4(h), vec4<f32>(0.0), vec4<u32>(row.label.class_index - first) == IN_FOUR);
    return select(vec4<f32>(0.0), e, valid_lanes(block, first));
}

fn acc_add(before: Acc, row: Row, block: Block) -> Acc {
    var acc = before;
    let ha = 0.5 * ordinary4(block.a);
    let hb = 0.5 * ordinary4(block.b);
    let hc = 0.5 * ordinary4(block.c);
    let hd = 0.5 * ordinary4(block.d);
    let half_m = max(acc.online.half_m, largest4(max(max(ha, hb), max(hc, hd))));
    acc.online = soft_add(acc.online, half_m, sum4(
        (others(row, block, ha - half_m, block.first.x) + others(row, block, hb - half_m, block.first.y))
        + (others(row, block, hc - half_m, block.first.z) + others(row, block, hd - half_m, block.first.w))));
    return acc;
}

fn acc_join(lane_acc: Acc) -> Acc {
    var acc = lane_acc;
    acc.online = soft_join(lane_acc.online);
    return acc;
}

// One class c: p_c, f(p_c) and h_c.
struct Term {
    p: f32,
    loss: f32,
    h: f32,
}

// e_t = exp(x_t - m).
fn e_label(row: Row, half_m: f32) -> f32 {
    return exp_twice(0.5 * ordinary(load_logit(row.at, row.label.class_index)) - half_m);
}

// log d.
fn log_sum(row: Row, half_m: f32, s: f32, e_t: f32) -> f32 {
    return select(ln(s + e_t), log1p(s), e_t == 1.0);
}

fn term(is_label: bool, bits: u32, half_m: f32, s: f32, d: f32, log_d: f32) -> Term {
    let half_below_max = half_m - 0.5 * ordinary(bits);
    let p = exp_twice(-half_below_max) / d;
    // 1 - p
    let left = max(select(1.0 - p, s / d, is_label), 0.0);
    // -log p = (m - x) + log d, halved against overflow.
    let half_cost = half_below_max + 0.5 * log_d;
    let cost = 2.0 * min(half_cost, 0x1p126f);
    let focus = unit_power(left, params.gamma);
    // p log p / (1 - p), -1 in the limit.
    let slope = select(-p * cost / left, -1.0, left < 1e-30);
    return Term(p, focus * cost, focus * (params.gamma * slope - 1.0));
}

fn second_pass_new() -> SecondPass {
    return SecondPass(0.0, 0.0, 0u, 0u, 0u);
}

fn second_pass_class(sums: SecondPass, row: Row, acc: Acc, bits: u32, a: f32, j: u32) -> SecondPass {
    if (j >= u.dispatch.classes) {
        return sums;
    }
    let finite = sums.finite | select(0u, 1u, is_finite(bits));
    let nan = sums.nan | select(0u, 1u, !is_finite(bits) && bits != NEG_INF_BITS);
    if (a == 0.0) {
        return SecondPass(sums.loss, sums.sum_ah, sums.infinite, finite, nan);
    }
    let e_t = e_label(row, acc.online.half_m);
    let d = acc.online.sum + e_t;
    let log_d = log_sum(row, acc.online.half_m, acc.online.sum, e_t);
    let one = term(j == row.label.class_index, bits, acc.online.half_m, acc.online.sum, d, log_d);
    let infinite = sums.infinite | select(0u, 1u, bits == NEG_INF_BITS);
    return SecondPass(sums.loss + a * one.loss, sums.sum_ah + a * one.h, infinite, finite, nan);
}

fn second_pass_add(sums: SecondPass, row: Row, acc: Acc, bits: vec4<u32>, j: u32) -> SecondPass {
    let share = shares(row, j);
    let a = second_pass_class(sums, row, acc, bits.x, share.x, j);
    let b = second_pass_class(a, row, acc, bits.y, share.y, j + 1u);
    let c = second_pass_class(b, row, acc, bits.z, share.z, j + 2u);
    return second_pass_class(c, row, acc, bits.w, share.w, j + 3u);
}

fn second_pass_join(before: Acc, sums: SecondPass) -> Acc {
    var acc = before;
    acc.loss = group_sum(sums.loss);
    acc.sum_ah = group_sum(sums.sum_ah);
    acc.infinite = group_or(sums.infinite);
    acc.finite = group_or(sums.finite);
    acc.nan = group_or(sums.nan);
    return acc;
}

// What `second_pass_join` made of a part of the row, as a lane's share.
fn second_pass_of(acc: Acc) -> SecondPass {
    return SecondPass(acc.loss, acc.sum_ah, acc.infinite, acc.finite, acc.nan);
}

fn row_result(row: Row, acc: Acc, upstream: Scale) -> RowResult {
    let e_t = e_label(row, acc.online.half_m);
    let d = acc.online.sum + e_t;
    var loss = bitcast<u32>(acc.loss);
    var nan_mask = upstream.nan_mask;
    if (skips_row(row)) {
        loss = skipped_loss(row.label);
    } else if (acc.nan != 0u || acc.finite == 0u) {
        loss = NAN_BITS;
        nan_mask = NAN_BITS;
    } else if (acc.infinite != 0u) {
        loss = INF_BITS;
    }
    let log_d = log_sum(row, acc.online.half_m, acc.online.sum, e_t);
    return RowResult(loss, nan_mask, acc.online.half_m, log_d, d, acc.online.sum, upstream.factor, acc.sum_ah);
}

fn grad_class(row: Row, result: RowResult, bits: u32, a: f32, j: u32) -> u32 {
    let is_label = j == row.label.class_index;
    let one = term(is_label, bits, result.half_m, result.s, result.d, result.log_d);
    if (is_label && !SMOOTHING) {
        // a_t h_t (1 - p_t), where sum_ah is a_t h_t
        return bitcast<u32>(result.scale * result.sum_ah * (result.s / result.d));
    }
    return bitcast<u32>(result.scale * (a * one.h - one.p * result.sum_ah));
}

fn grad_four(row: Row, result: RowResult, bits: vec4<u32>, j: u32) -> vec4<u32> {
    let share = shares(row, j);
    return vec4<u32>(
        grad_class(row, result, bits.x, share.x, j),
        grad_class(row, result, bits.y, share.y, j + 1u),
        grad_class(row, result, bits.z, share.z, j + 2u),
        grad_class(row, result, bits.w, share.w, j + 3u),
    );
}

fn grad_target_four(row: Row, result: RowResult, bits: vec4<u32>, j: u32) -> vec4<u32> {
    return vec4<u32>(0u);
}
