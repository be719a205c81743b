// Divergences between the softmaxes of two rows of logits, student x (input) and teacher y (target), at temperature T:
//
//   Q = softmax(x / T), P = softmax(y / T)
//   forward   T^2 KL(P | Q) = T^2 sum P (log P - log Q)
//   reverse   T^2 KL(Q | P)
//   JSD(b)    T^2 (b KL(P | M) + (1 - b) KL(Q | M)),  M = b P + (1 - b) Q
//
// One formula covers the gradients: with u_c the factor beside P_c and v_c the one beside Q_c in the sum over c,
//   d/dx_j = T (Q_j (v_j - sum_c Q_c v_c) + r_j),  d/dy_j = T (P_j (u_j - sum_c P_c u_c) + s_j)
//   forward   u = log P - log Q, v = 0, r = Q - P, s = 0
//   reverse   u = 0, v = log Q - log P, r = 0, s = P - Q
//   JSD       u = b log(P / M), v = (1 - b) log(Q / M), r = s = 0
//
// G. Hinton et al., https://arxiv.org/abs/1503.02531 (temperature, T^2); R. Agarwal et al., https://arxiv.org/abs/2306.13649 (JSD).

struct Params {
    half_inverse_t: f32,    // 1 / (2 T)
    square: f32,            // T^2
    temperature: f32,
    beta: f32,
}

override REVERSE: bool = false;
override JSD: bool = false;

const ACCUMULATES = true;
const REVISITS = true;

struct Row {
    at: u32,
}

struct Acc {
    q: Soft,
    p: Soft,
    log_q: f32,         // log of each sum
    log_p: f32,
    v: f32,             // of the second pass: sum Q v and sum P u, which together are the divergence
    u: f32,
    notes: u32,
}

struct Again {
    v: f32,             // sum Q v and sum P u, and what rounding added to them too much
    v_low: f32,
    u: f32,
    u_low: f32,
    notes: u32,
}

const FINITE_Q = 1u;        // some student logit is finite
const FINITE_P = 2u;
const POISONED = 4u;        // NaN or +inf among the logits
const MAKES_INF = 8u;       // probability 0 where the other distribution has some

struct Closed {
    loss: u32,
    poison: u32,
    acc: Acc,
    scale: f32,
}

fn open_row(index: u32, at: u32) -> Row {
    return Row(at);
}

fn skips_row(row: Row) -> bool {
    return false;
}

fn acc_new() -> Acc {
    return Acc(soft_new(), soft_new(), 0.0, 0.0, 0.0, 0.0, 0u);
}

// x / (2 T); for T < 1/2 a huge logit stays in range.
fn halved(bits: vec4<u32>) -> vec4<f32> {
    let limit = 0x1.fffffep+126f;
    return clamp(ordinary4(bits) * params.half_inverse_t, vec4<f32>(-limit), vec4<f32>(limit));
}

fn add_quad(before: Soft, bits: vec4<u32>, valid: vec4<bool>) -> Soft {
    let h = halved(bits);
    let half_m = max(before.half_m, largest4(select(vec4<f32>(before.half_m), h, valid)));
    return soft_add(before, half_m, sum4(select(vec4<f32>(0.0), exp_twice4(h - half_m), valid)));
}

fn acc_quad(before: Acc, row: Row, block: Block, bits: vec4<u32>, j: u32) -> Acc {
    var acc = before;
    let valid = valid_lanes(block, j);
    acc.q = add_quad(acc.q, bits, valid);
    acc.p = add_quad(acc.p, target_quad(row.at, j), valid);
    return acc;
}

fn acc_add(acc: Acc, row: Row, block: Block) -> Acc {
    let a = acc_quad(acc, row, block, block.a, block.first.x);
    let b = acc_quad(a, row, block, block.b, block.first.y);
    let c = acc_quad(b, row, block, block.c, block.first.z);
    return acc_quad(c, row, block, block.d, block.first.w);
}

fn acc_join(lane_acc: Acc) -> Acc {
    var acc = lane_acc;
    acc.q = soft_join(lane_acc.q);
    acc.p = soft_join(lane_acc.p);
    acc.log_q = ln(acc.q.sum);
    acc.log_p = ln(acc.p.sum);
    return acc;
}

// One class: probabilities, and u, v of the header.
struct Term {
    p: f32,
    q: f32,
    u: f32,
    v: f32,
}

fn term(acc: Acc, x: u32, y: u32) -> Term {
    let half_x = halved(vec4<u32>(x)).x;
    let half_y = halved(vec4<u32>(y)).x;
    var one: Term;
    one.q = select(exp_twice(half_x - acc.q.half_m) / acc.q.sum, 0.0, x == NEG_INF_BITS);
    one.p = select(exp_twice(half_y - acc.p.half_m) / acc.p.sum, 0.0, y == NEG_INF_BITS);
    // log P - log Q: logits first, maxima next, so that no log of a probability is rounded on the way.
    let half_difference = (half_y - half_x) - (acc.p.half_m - acc.q.half_m);
    let difference = 2.0 * clamp(half_difference, -0x1p125f, 0x1p125f) - (acc.log_p - acc.log_q);
    if (JSD) {
        let b = params.beta;
        // log(P / M) = -log(b + (1 - b) Q / P)
        one.u = select(0.0, -b * log_ratio(b, 1.0 - b, -difference), one.p > 0.0);
        one.v = select(0.0, -(1.0 - b) * log_ratio(1.0 - b, b, difference), one.q > 0.0);
    } else if (REVERSE) {
        one.v = select(0.0, -difference, one.q > 0.0);
    } else {
        one.u = select(0.0, difference, one.p > 0.0);
    }
    return one;
}

// log(a + b exp d).
fn log_ratio(a: f32, b: f32, d: f32) -> f32 {
    if (d <= 0.0) {
        // a + b = 1: 1 - b (1 - exp d), near 1 for small d.
        return log_near_one(b * expm1_negative(d), a + b * exp_twice(0.5 * d));
    }
    if (b == 0.0) {
        return 0.0;
    }
    return d + log_near_one(a * expm1_negative(-d), b + a * exp_twice(-0.5 * d));
}

// exp d - 1 for d <= 0, relative accuracy for small d included.
fn expm1_negative(d: f32) -> f32 {
    let series = d * (1.0 + d * (0.5 + d * (0.16666667 + d * (0.041666667 + d * (0.0083333333 + d * 0.0013888889)))));
    return select(exp_twice(0.5 * d) - 1.0, series, d > -0.25);
}

// log(1 + f), where v = 1 + f.
fn log_near_one(f: f32, v: f32) -> f32 {
    return select(ln(max(v, 1.2e-38)), log1p_series(max(f, -0.28)), f > -0.28);
}

fn revisit_new() -> Again {
    return Again(0.0, 0.0, 0.0, 0.0, 0u);
}

fn revisit_class(before: Again, acc: Acc, x: u32, y: u32, j: u32) -> Again {
    if (j >= u.frame.classes) {
        return before;
    }
    var again = before;
    let one = term(acc, x, y);
    again.notes |= select(0u, FINITE_Q, is_finite(x)) | select(0u, FINITE_P, is_finite(y));
    again.notes |= select(0u, POISONED, (!is_finite(x) && x != NEG_INF_BITS) || (!is_finite(y) && y != NEG_INF_BITS));
    // -inf on one side alone: that side's log is infinite where the other has probability.
    let clash = (x == NEG_INF_BITS && one.p > 0.0 && !REVERSE) || (y == NEG_INF_BITS && one.q > 0.0 && REVERSE);
    again.notes |= select(0u, MAKES_INF, clash && !JSD);
    let v = one.q * one.v - again.v_low;
    let v_sum = launder(again.v + v);
    again.v_low = launder(v_sum - again.v) - v;
    again.v = v_sum;
    let t = one.p * one.u - again.u_low;
    let u_sum = launder(again.u + t);
    again.u_low = launder(u_sum - again.u) - t;
    again.u = u_sum;
    return again;
}

fn revisit_add(again: Again, row: Row, acc: Acc, bits: vec4<u32>, j: u32) -> Again {
    let y = target_quad(row.at, j);
    let a = revisit_class(again, acc, bits.x, y.x, j);
    let b = revisit_class(a, acc, bits.y, y.y, j + 1u);
    let c = revisit_class(b, acc, bits.z, y.z, j + 2u);
    return revisit_class(c, acc, bits.w, y.w, j + 3u);
}

fn revisit_join(before: Acc, again: Again) -> Acc {
    var acc = before;
    acc.v = group_sum(again.v - again.v_low);
    acc.u = group_sum(again.u - again.u_low);
    acc.notes = group_or(again.notes);
    return acc;
}

// What `revisit_join` made of a part of the row, as a lane's share.
fn revisit_of(acc: Acc) -> Again {
    return Again(acc.v, 0.0, acc.u, 0.0, acc.notes);
}

fn close_row(row: Row, acc: Acc, upstream: Scale) -> Closed {
    var loss = bitcast<u32>(max(acc.u + acc.v, 0.0) * params.square);
    var poison = upstream.poison;
    let both = FINITE_Q | FINITE_P;
    if ((acc.notes & POISONED) != 0u || (acc.notes & both) != both) {
        loss = NAN_BITS;
        poison = NAN_BITS;
    } else if ((acc.notes & MAKES_INF) != 0u) {
        loss = INF_BITS;
    }
    return Closed(loss, poison, acc, upstream.factor * params.temperature);
}

fn grad_class(closed: Closed, x: u32, y: u32) -> u32 {
    let one = term(closed.acc, x, y);
    var g = one.q * (one.v - closed.acc.v);
    if (!REVERSE && !JSD) {
        g = one.q - one.p;
    }
    return select(bitcast<u32>(closed.scale * g), NAN_BITS, REVERSE && closed.loss == INF_BITS);
}

fn grad_quad(row: Row, closed: Closed, bits: vec4<u32>, j: u32) -> vec4<u32> {
    let y = target_quad(row.at, j);
    return vec4<u32>(
        grad_class(closed, bits.x, y.x),
        grad_class(closed, bits.y, y.y),
        grad_class(closed, bits.z, y.z),
        grad_class(closed, bits.w, y.w),
    );
}

fn grad_target_class(closed: Closed, x: u32, y: u32) -> u32 {
    let one = term(closed.acc, x, y);
    var g = one.p * (one.u - closed.acc.u);
    if (REVERSE) {
        g = one.p - one.q;
    }
    return select(bitcast<u32>(closed.scale * g), NAN_BITS, !REVERSE && closed.loss == INF_BITS);
}

fn grad_target_quad(row: Row, closed: Closed, bits: vec4<u32>, j: u32) -> vec4<u32> {
    let y = target_quad(row.at, j);
    return vec4<u32>(
        grad_target_class(closed, bits.x, y.x),
        grad_target_class(closed, bits.y, y.y),
        grad_target_class(closed, bits.z, y.z),
        grad_target_class(closed, bits.w, y.w),
    );
}
