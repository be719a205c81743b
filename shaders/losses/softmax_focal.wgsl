// Softmax focal loss of rows of logits x with class index t, focus g, class balance w and label smoothing e; p = softmax x:
//
//   q_c = (1 - e) [c = t] + e / C,  a_c = w_c q_c
//   loss = -sum_c a_c (1 - p_c)^g log p_c
//   dloss/dx_j = a_j h_j - p_j sum_c a_c h_c,  h(p) = p d/dp(-(1 - p)^g log p) = (1 - p)^g (g p log p / (1 - p) - 1)
//
// T. Lin et al., Focal loss for dense object detection, https://arxiv.org/abs/1708.02002, with softmax in place of sigmoid.
//
// 1 - p_t = s / d with s the sum over the other classes: a confident row keeps its digits. p log p / (1 - p) tends to -1 as
// p tends to 1, so nothing is divided by 0 for g < 1.

struct Params {
    gamma: f32,
    hard: f32,          // 1 - e
    soft: f32,          // e / C
}

override SMOOTHING: bool = false;

const ACCUMULATES = true;
const REVISITS = true;

struct Row {
    at: u32,
    label: Label,
}

struct Acc {
    soft: Soft,         // over the classes other than the target's
    finite: u32,        // of the second pass: 1 if some logit is finite,
    nan: u32,           // 1 if some is NaN or +inf,
    infinite: u32,      // 1 if a class with a_c != 0 has probability 0,
    loss: f32,          // and the sums of the losses
    h: f32,             // and of a_c h_c
}

struct Again {
    loss: f32,
    h: f32,
    infinite: u32,
    finite: u32,
    nan: u32,
}

struct Closed {
    loss: u32,
    poison: u32,
    half_m: f32,
    log_d: f32,
    d: f32,
    s: f32,
    scale: f32,
    h: f32,
}

fn open_row(index: u32, at: u32) -> Row {
    return Row(at, read_label(target_index(index)));
}

fn skips_row(row: Row) -> bool {
    return row.label.state != COUNTS;
}

// a_c of four classes.
fn shares(row: Row, j: u32) -> vec4<f32> {
    let is_label = vec4<u32>(j) + IN_QUAD == vec4<u32>(row.label.class_index);
    return class_weights(j) * (params.soft + select(vec4<f32>(0.0), vec4<f32>(params.hard), is_label));
}

fn acc_new() -> Acc {
    return Acc(soft_new(), 0u, 0u, 0u, 0.0, 0.0);
}

fn others(row: Row, block: Block, h: vec4<f32>, first: u32) -> vec4<f32> {
    let e = select(exp_twice4(h), vec4<f32>(0.0), vec4<u32>(row.label.class_index - first) == IN_QUAD);
    return select(vec4<f32>(0.0), e, valid_lanes(block, first));
}

fn acc_add(before: Acc, row: Row, block: Block) -> Acc {
    var acc = before;
    let a = 0.5 * ordinary4(block.a);
    let b = 0.5 * ordinary4(block.b);
    let c = 0.5 * ordinary4(block.c);
    let d = 0.5 * ordinary4(block.d);
    let half_m = max(acc.soft.half_m, largest4(max(max(a, b), max(c, d))));
    acc.soft = soft_add(acc.soft, half_m, sum4(
        (others(row, block, a - half_m, block.first.x) + others(row, block, b - half_m, block.first.y))
        + (others(row, block, c - half_m, block.first.z) + others(row, block, d - half_m, block.first.w))));
    return acc;
}

fn acc_join(lane_acc: Acc) -> Acc {
    var acc = lane_acc;
    acc.soft = soft_join(lane_acc.soft);
    return acc;
}

// What one class comes to, given the row's maximum and sums.
struct Term {
    p: f32,
    loss: f32,
    h: f32,
}

fn e_label(row: Row, half_m: f32) -> f32 {
    return exp_twice(0.5 * ordinary(load_logit(row.at, row.label.class_index)) - half_m);
}

fn log_sum(row: Row, half_m: f32, s: f32, e_t: f32) -> f32 {
    return select(ln(s + e_t), log1p(s), e_t == 1.0);
}

fn term(is_label: bool, bits: u32, half_m: f32, s: f32, d: f32, log_d: f32) -> Term {
    let lag = half_m - 0.5 * ordinary(bits);
    let p = exp_twice(-lag) / d;
    let left = max(select(1.0 - p, s / d, is_label), 0.0);
    // -log p, halved against overflow.
    let half_cost = lag + 0.5 * log_d;
    let cost = 2.0 * min(half_cost, 0x1p126f);
    let focus = unit_power(left, params.gamma);
    // p log p / (1 - p), -1 in the limit.
    let slope = select(-p * cost / left, -1.0, left < 1e-30);
    return Term(p, focus * cost, focus * (params.gamma * slope - 1.0));
}

fn revisit_new() -> Again {
    return Again(0.0, 0.0, 0u, 0u, 0u);
}

fn revisit_class(again: Again, row: Row, acc: Acc, bits: u32, a: f32, j: u32) -> Again {
    if (j >= u.frame.classes) {
        return again;
    }
    let finite = again.finite | select(0u, 1u, is_finite(bits));
    let nan = again.nan | select(0u, 1u, !is_finite(bits) && bits != NEG_INF_BITS);
    if (a == 0.0) {
        return Again(again.loss, again.h, again.infinite, finite, nan);
    }
    let e_t = e_label(row, acc.soft.half_m);
    let d = acc.soft.sum + e_t;
    let log_d = log_sum(row, acc.soft.half_m, acc.soft.sum, e_t);
    let one = term(j == row.label.class_index, bits, acc.soft.half_m, acc.soft.sum, d, log_d);
    let infinite = again.infinite | select(0u, 1u, bits == NEG_INF_BITS);
    return Again(again.loss + a * one.loss, again.h + a * one.h, infinite, finite, nan);
}

fn revisit_add(again: Again, row: Row, acc: Acc, bits: vec4<u32>, j: u32) -> Again {
    let share = shares(row, j);
    let a = revisit_class(again, row, acc, bits.x, share.x, j);
    let b = revisit_class(a, row, acc, bits.y, share.y, j + 1u);
    let c = revisit_class(b, row, acc, bits.z, share.z, j + 2u);
    return revisit_class(c, row, acc, bits.w, share.w, j + 3u);
}

fn revisit_join(before: Acc, again: Again) -> Acc {
    var acc = before;
    acc.loss = group_sum(again.loss);
    acc.h = group_sum(again.h);
    acc.infinite = group_or(again.infinite);
    acc.finite = group_or(again.finite);
    acc.nan = group_or(again.nan);
    return acc;
}

// What `revisit_join` made of a part of the row, as a lane's share.
fn revisit_of(acc: Acc) -> Again {
    return Again(acc.loss, acc.h, acc.infinite, acc.finite, acc.nan);
}

fn close_row(row: Row, acc: Acc, upstream: Scale) -> Closed {
    let e_t = e_label(row, acc.soft.half_m);
    let d = acc.soft.sum + e_t;
    var loss = bitcast<u32>(acc.loss);
    var poison = upstream.poison;
    if (skips_row(row)) {
        loss = skipped_loss(row.label);
    } else if (acc.nan != 0u || acc.finite == 0u) {
        loss = NAN_BITS;
        poison = NAN_BITS;
    } else if (acc.infinite != 0u) {
        loss = INF_BITS;
    }
    return Closed(loss, poison, acc.soft.half_m, log_sum(row, acc.soft.half_m, acc.soft.sum, e_t), d, acc.soft.sum, upstream.factor, acc.h);
}

fn grad_class(row: Row, closed: Closed, bits: u32, a: f32, j: u32) -> u32 {
    let is_label = j == row.label.class_index;
    let one = term(is_label, bits, closed.half_m, closed.s, closed.d, closed.log_d);
    if (is_label && !SMOOTHING) {
        // a h - p a h
        return bitcast<u32>(closed.scale * closed.h * (closed.s / closed.d));
    }
    return bitcast<u32>(closed.scale * (a * one.h - one.p * closed.h));
}

fn grad_quad(row: Row, closed: Closed, bits: vec4<u32>, j: u32) -> vec4<u32> {
    let share = shares(row, j);
    return vec4<u32>(
        grad_class(row, closed, bits.x, share.x, j),
        grad_class(row, closed, bits.y, share.y, j + 1u),
        grad_class(row, closed, bits.z, share.z, j + 2u),
        grad_class(row, closed, bits.w, share.w, j + 3u),
    );
}

fn grad_target_quad(row: Row, closed: Closed, bits: vec4<u32>, j: u32) -> vec4<u32> {
    return vec4<u32>(0u);
}
