// Divergences between the softmaxes of two rows of logits, student x (input) and teacher y (target), at temperature T:
//
//   Q = softmax(x / T), P = softmax(y / T)
//   forward   T^2 KL(P | Q) = T^2 sum P (log P - log Q)
//   reverse   T^2 KL(Q | P)
//   JSD(b)    T^2 (b KL(P | M) + (1 - b) KL(Q | M)),  M = b P + (1 - b) Q
//
// Gradients. All three are loss = T^2 sum_c (P_c u_c + Q_c v_c) with
//   forward   u = log P - log Q,      v = 0
//   reverse   u = 0,                  v = log Q - log P
//   JSD       u = b log(P / M),       v = (1 - b) log(Q / M)
// and then
//   dloss/dx_j = T (Q_j (v_j - sum_c Q_c v_c) + r_j)        forward: r = Q - P, else 0
//   dloss/dy_j = T (P_j (u_j - sum_c P_c u_c) + s_j)        reverse: s = P - Q, else 0
//
// Why. dQ_c/dx_j = Q_c ([c = j] - Q_j) / T, so a derivative g_c = d(loss / T^2)/dQ_c becomes
//   dloss/dx_j = T (Q_j g_j - Q_j sum_c Q_c g_c)
// By the product rule g_c = v_c + k_c, and k_c is what u_c and v_c change by, for they depend on Q too:
//   k_c = P_c du_c/dQ_c + Q_c dv_c/dQ_c
//   forward   k = -P / Q             gives Q_j k_j - Q_j sum_c Q_c k_c = -P_j + Q_j = r_j
//   reverse   k = Q / Q = 1          gives Q_j - Q_j = 0, as every constant does
//   JSD       k = -b (1 - b) P / M + (1 - b) - (1 - b)^2 Q / M = (1 - b) (1 - (b P + (1 - b) Q) / M) = 0
// In JSD the inner terms cancel, so nothing but v is left of g. The same holds for y, with P and Q exchanged, u and v,
// and b and 1 - b.
//
// G. Hinton et al., https://arxiv.org/abs/1503.02531 (temperature, T^2)
// R. Agarwal et al., https://arxiv.org/abs/2306.13649 (JSD)

struct Params {
    half_inverse_t: f32,    // 1 / (2 T)
    square: f32,            // T^2
    temperature: f32,       // T
    beta: f32,              // b
}

override REVERSE: bool = false;
override JSD: bool = false;

const ACCUMULATES = true;
const HAS_SECOND_PASS = true;

struct Row {
    at: u32,
}

struct Acc {
    q: Soft,            // m / 2 and d of the student's row, Q_c = exp(x_c / T - m) / d
    p: Soft,            // of the teacher's, P
    log_d_q: f32,
    log_d_p: f32,
    // Of the second pass. Both sums together are loss / T^2.
    sum_qv: f32,        // sum_c Q_c v_c
    sum_pu: f32,        // sum_c P_c u_c
    notes: u32,
}

struct SecondPass {
    sum_qv: f32,
    qv_lo: f32,         // what rounding added to sum_qv too much
    sum_pu: f32,
    pu_lo: f32,
    notes: u32,
}

const FINITE_Q = 1u;        // some student logit is finite
const FINITE_P = 2u;
const FOUND_NAN = 4u;       // NaN or +inf among the logits
const MAKES_INF = 8u;       // probability 0 where the other distribution has some

struct RowResult {
    loss: u32,
    nan_mask: u32,
    acc: Acc,
    scale: f32,         // T grad_output / denominator, times the row's sample weight
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

// x / (2 T), kept in range: for T < 1/2 a huge logit would leave it.
fn halved(bits: vec4<u32>) -> vec4<f32> {
    let limit = 0x1.fffffep+126f;
    return clamp(ordinary4(bits) * params.half_inverse_t, vec4<f32>(-limit), vec4<f32>(limit));
}

fn add_four(before: Soft, bits: vec4<u32>, valid: vec4<bool>) -> Soft {
    let h = halved(bits);
    let half_m = max(before.half_m, largest4(select(vec4<f32>(before.half_m), h, valid)));
    return soft_add(before, half_m, sum4(select(vec4<f32>(0.0), exp_twice4(h - half_m), valid)));
}

fn acc_four(before: Acc, row: Row, block: Block, bits: vec4<u32>, j: u32) -> Acc {
    var acc = before;
    let valid = valid_lanes(block, j);
    acc.q = add_four(acc.q, bits, valid);
    acc.p = add_four(acc.p, target_four(row.at, j), valid);
    return acc;
}

fn acc_add(acc: Acc, row: Row, block: Block) -> Acc {
    let a = acc_four(acc, row, block, block.a, block.first.x);
    let b = acc_four(a, row, block, block.b, block.first.y);
    let c = acc_four(b, row, block, block.c, block.first.z);
    return acc_four(c, row, block, block.d, block.first.w);
}

fn acc_join(lane_acc: Acc) -> Acc {
    var acc = lane_acc;
    acc.q = soft_join(lane_acc.q);
    acc.p = soft_join(lane_acc.p);
    acc.log_d_q = ln(acc.q.sum);
    acc.log_d_p = ln(acc.p.sum);
    return acc;
}

// One class c: P_c, Q_c, and u_c, v_c of the header.
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
    let difference = 2.0 * clamp(half_difference, -0x1p125f, 0x1p125f) - (acc.log_d_p - acc.log_d_q);
    if (JSD) {
        let b = params.beta;
        // log(P / M) = -log(b + (1 - b) Q / P), log(Q / M) = -log((1 - b) + b P / Q)
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

fn second_pass_new() -> SecondPass {
    return SecondPass(0.0, 0.0, 0.0, 0.0, 0u);
}

fn second_pass_class(before: SecondPass, acc: Acc, x: u32, y: u32, j: u32) -> SecondPass {
    if (j >= u.dispatch.classes) {
        return before;
    }
    var sums = before;
    let one = term(acc, x, y);
    sums.notes |= select(0u, FINITE_Q, is_finite(x)) | select(0u, FINITE_P, is_finite(y));
    sums.notes |= select(0u, FOUND_NAN, (!is_finite(x) && x != NEG_INF_BITS) || (!is_finite(y) && y != NEG_INF_BITS));
    // -inf on one side alone: that side's log is infinite where the other has probability.
    let clash = (x == NEG_INF_BITS && one.p > 0.0 && !REVERSE) || (y == NEG_INF_BITS && one.q > 0.0 && REVERSE);
    sums.notes |= select(0u, MAKES_INF, clash && !JSD);
    // Kahan's sums.
    let qv = one.q * one.v - sums.qv_lo;
    let sum_qv = opaque(sums.sum_qv + qv);
    sums.qv_lo = opaque(sum_qv - sums.sum_qv) - qv;
    sums.sum_qv = sum_qv;
    let pu = one.p * one.u - sums.pu_lo;
    let sum_pu = opaque(sums.sum_pu + pu);
    sums.pu_lo = opaque(sum_pu - sums.sum_pu) - pu;
    sums.sum_pu = sum_pu;
    return sums;
}

fn second_pass_add(sums: SecondPass, row: Row, acc: Acc, bits: vec4<u32>, j: u32) -> SecondPass {
    let y = target_four(row.at, j);
    let a = second_pass_class(sums, acc, bits.x, y.x, j);
    let b = second_pass_class(a, acc, bits.y, y.y, j + 1u);
    let c = second_pass_class(b, acc, bits.z, y.z, j + 2u);
    return second_pass_class(c, acc, bits.w, y.w, j + 3u);
}

fn second_pass_join(before: Acc, sums: SecondPass) -> Acc {
    var acc = before;
    acc.sum_qv = group_sum(sums.sum_qv - sums.qv_lo);
    acc.sum_pu = group_sum(sums.sum_pu - sums.pu_lo);
    acc.notes = group_or(sums.notes);
    return acc;
}

// What `second_pass_join` made of a part of the row, as a lane's share.
fn second_pass_of(acc: Acc) -> SecondPass {
    return SecondPass(acc.sum_qv, 0.0, acc.sum_pu, 0.0, acc.notes);
}

fn row_result(row: Row, acc: Acc, upstream: Scale) -> RowResult {
    var loss = bitcast<u32>(max(acc.sum_pu + acc.sum_qv, 0.0) * params.square);
    var nan_mask = upstream.nan_mask;
    let both = FINITE_Q | FINITE_P;
    if ((acc.notes & FOUND_NAN) != 0u || (acc.notes & both) != both) {
        loss = NAN_BITS;
        nan_mask = NAN_BITS;
    } else if ((acc.notes & MAKES_INF) != 0u) {
        loss = INF_BITS;
    }
    return RowResult(loss, nan_mask, acc, upstream.factor * params.temperature);
}

fn grad_class(result: RowResult, x: u32, y: u32) -> u32 {
    let one = term(result.acc, x, y);
    var g = one.q * (one.v - result.acc.sum_qv);
    if (!REVERSE && !JSD) {
        g = one.q - one.p;
    }
    return select(bitcast<u32>(result.scale * g), NAN_BITS, REVERSE && result.loss == INF_BITS);
}

fn grad_four(row: Row, result: RowResult, bits: vec4<u32>, j: u32) -> vec4<u32> {
    let y = target_four(row.at, j);
    return vec4<u32>(
        grad_class(result, bits.x, y.x),
        grad_class(result, bits.y, y.y),
        grad_class(result, bits.z, y.z),
        grad_class(result, bits.w, y.w),
    );
}

fn grad_target_class(result: RowResult, x: u32, y: u32) -> u32 {
    let one = term(result.acc, x, y);
    var g = one.p * (one.u - result.acc.sum_pu);
    if (REVERSE) {
        g = one.p - one.q;
    }
    return select(bitcast<u32>(result.scale * g), NAN_BITS, !REVERSE && result.loss == INF_BITS);
}

fn grad_target_four(row: Row, result: RowResult, bits: vec4<u32>, j: u32) -> vec4<u32> {
    let y = target_four(row.at, j);
    return vec4<u32>(
        grad_target_class(result, bits.x, y.x),
        grad_target_class(result, bits.y, y.y),
        grad_target_class(result, bits.z, y.z),
        grad_target_class(result, bits.w, y.w),
    );
}
