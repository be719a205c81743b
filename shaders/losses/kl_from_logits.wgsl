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

struct Row {
    at: u32,
    label: Label,
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
    sum_qv: RunSum,
    sum_pu: RunSum,
    notes: u32,
}

const FINITE_Q = 1u;        // some student logit is finite
const FINITE_P = 2u;
const FOUND_NAN = 4u;       // NaN or +inf among the logits
const MAKES_INF = 8u;       // probability 0 where the other distribution has some

struct RowResult {
    loss: u32,
    nan_mask: u32,
    scale: f32,         // T grad_output / denominator, times the row's sample weight
}

fn open_row(index: u32, at: u32) -> Row {
    return Row(at, label_of_row(index, Label(NO_CLASS, COUNTS)));
}

fn skips_row(row: Row) -> bool {
    return row.label.state != COUNTS;
}

fn left_out(row: Row) -> u32 {
    return NO_CLASS;
}

fn acc_new() -> Acc {
    return Acc(soft_new(), soft_new(), 0.0, 0.0, 0.0, 0.0, 0u);
}

// x / (2 T), kept in range: for T < 1/2 a huge logit would leave it.
fn halved(bits: vec4<u32>) -> vec4<f32> {
    if (assume_finite) {
        return bitcast<vec4<f32>>(bits) * params.half_inverse_t;
    }
    return clamp(ordinary4(bits) * params.half_inverse_t, vec4<f32>(LOWEST_HALF), vec4<f32>(-LOWEST_HALF));
}

fn raise_peak(before: Acc, top_x: u32, top_y: u32) -> Acc {
    var acc = before;
    acc.q.peak = max(acc.q.peak, halved(vec4<u32>(top_x)).x);
    acc.p.peak = max(acc.p.peak, halved(vec4<u32>(top_y)).x);
    return acc;
}

fn peak_join(before: Acc) -> Acc {
    var acc = before;
    acc.q.peak = group_max(before.q.peak);
    acc.p.peak = group_max(before.p.peak);
    return acc;
}

fn acc_move(before: Acc) -> Acc {
    var acc = before;
    acc.q = soft_move(before.q);
    acc.p = soft_move(before.p);
    return acc;
}

// exp(x - m) of four logits, given their bits.
fn exp_below(soft: Soft, bits: vec4<u32>) -> vec4<f32> {
    return exp_twice4(halved(bits) - soft.half_m);
}

fn term_four(row: Row, acc: Acc, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    return bitcast<vec4<u32>>(exp_below(acc.q, x));
}

fn add_four(before: Acc, row: Row, term: vec4<u32>, x: vec4<u32>, y: vec4<u32>, j: u32, exists: vec4<bool>) -> Acc {
    var acc = before;
    acc.q.sum = run_sum_add(before.q.sum, bitcast<vec4<f32>>(term));
    acc.p.sum = run_sum_add(before.p.sum, select(vec4<f32>(0.0), exp_below(before.p, y), exists));
    return acc;
}

fn acc_join(lane_acc: Acc) -> Acc {
    var acc = lane_acc;
    acc.q = soft_join(lane_acc.q);
    acc.p = soft_join(lane_acc.p);
    acc.log_d_q = ln(run_sum_value(acc.q.sum));
    acc.log_d_p = ln(run_sum_value(acc.p.sum));
    return acc;
}

// Four classes c: P_c, Q_c, and u_c, v_c of the header.
struct Terms {
    p: vec4<f32>,
    q: vec4<f32>,
    u: vec4<f32>,
    v: vec4<f32>,
}

fn probabilities(soft: Soft, bits: vec4<u32>) -> vec4<f32> {
    let p = exp_below(soft, bits) * (1.0 / run_sum_value(soft.sum));
    return select(p, vec4<f32>(0.0), vec4<bool>(!assume_finite) & (bits == vec4<u32>(NEG_INF_BITS)));
}

fn terms_of(acc: Acc, x: vec4<u32>, y: vec4<u32>) -> Terms {
    var terms: Terms;
    terms.q = probabilities(acc.q, x);
    terms.p = probabilities(acc.p, y);
    let zero4 = vec4<f32>(0.0);
    // log P - log Q: logits first, maxima next, so that no log of a probability is rounded on the way.
    let half_difference = (halved(y) - halved(x)) - (acc.p.half_m - acc.q.half_m);
    var difference = 2.0 * half_difference - (acc.log_d_p - acc.log_d_q);
    if (!assume_finite) {
        difference = 2.0 * clamp(half_difference, vec4<f32>(-0x1p125f), vec4<f32>(0x1p125f)) - (acc.log_d_p - acc.log_d_q);
    }
    if (JSD) {
        let b = params.beta;
        // log(P / M) = -log(b + (1 - b) Q / P), log(Q / M) = -log((1 - b) + b P / Q)
        terms.u = select(zero4, -b * log_ratio(b, 1.0 - b, -difference), terms.p > zero4);
        terms.v = select(zero4, -(1.0 - b) * log_ratio(1.0 - b, b, difference), terms.q > zero4);
    } else if (REVERSE) {
        terms.v = select(zero4, -difference, terms.q > zero4);
    } else {
        terms.u = select(zero4, difference, terms.p > zero4);
    }
    return terms;
}

// log(a + b exp d), where a + b = 1: next to 1 for small d. For d > 0 it is d + log(b + a exp(-d)).
fn log_ratio(a: f32, b: f32, d: vec4<f32>) -> vec4<f32> {
    let falls = d <= vec4<f32>(0.0);
    let factor = select(vec4<f32>(a), vec4<f32>(b), falls);
    let negative = -abs(d);
    let log_rest = log_near_one(factor * expm1_negative(negative), (1.0 - factor) + factor * exp_twice4(0.5 * negative));
    return select(select(d + log_rest, vec4<f32>(0.0), vec4<bool>(b == 0.0)), log_rest, falls);
}

// exp d - 1 for d <= 0, relative accuracy for small d included.
fn expm1_negative(d: vec4<f32>) -> vec4<f32> {
    let series = d * (1.0 + d * (0.5 + d * (0.16666667 + d * (0.041666667 + d * (0.0083333333 + d * 0.0013888889)))));
    return select(exp_twice4(0.5 * d) - 1.0, series, d > vec4<f32>(-0.25));
}

// log(1 + f), where v = 1 + f.
fn log_near_one(f: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
    let w = max(v, vec4<f32>(1.2e-38));
    let far = vec4<f32>(ln(w.x), ln(w.y), ln(w.z), ln(w.w));
    return select(far, log1p_series4(max(f, vec4<f32>(-0.28))), f > vec4<f32>(-0.28));
}

fn has_second_pass() -> bool {
    return true;
}

fn second_pass_new() -> SecondPass {
    return SecondPass(run_sum_new(), run_sum_new(), 0u);
}

fn note(condition: vec4<bool>, value: u32) -> u32 {
    return select(0u, value, any(condition));
}

fn second_pass_add(before: SecondPass, row: Row, acc: Acc, x: vec4<u32>, y: vec4<u32>, j: u32, exists: vec4<bool>) -> SecondPass {
    let terms = terms_of(acc, x, y);
    var notes = before.notes | FINITE_Q | FINITE_P;
    if (!assume_finite) {
        let finite_x = (x & vec4<u32>(ABS_BITS)) < vec4<u32>(INF_BITS);
        let finite_y = (y & vec4<u32>(ABS_BITS)) < vec4<u32>(INF_BITS);
        let masked_x = x == vec4<u32>(NEG_INF_BITS);
        let masked_y = y == vec4<u32>(NEG_INF_BITS);
        notes = before.notes | note(finite_x & exists, FINITE_Q) | note(finite_y & exists, FINITE_P)
            | note(exists & !((finite_x | masked_x) & (finite_y | masked_y)), FOUND_NAN);
        // -inf on one side alone: that side's log is infinite where the other has probability.
        var clash = masked_x & (terms.p > vec4<f32>(0.0));
        if (REVERSE) {
            clash = masked_y & (terms.q > vec4<f32>(0.0));
        }
        notes |= note(clash & exists & vec4<bool>(!JSD), MAKES_INF);
    }
    return SecondPass(
        run_sum_add(before.sum_qv, select(vec4<f32>(0.0), terms.q * terms.v, exists)),
        run_sum_add(before.sum_pu, select(vec4<f32>(0.0), terms.p * terms.u, exists)),
        notes,
    );
}

fn second_pass_close(sums: SecondPass) -> SecondPass {
    return SecondPass(run_sum_close(sums.sum_qv), run_sum_close(sums.sum_pu), sums.notes);
}

fn second_pass_join(before: Acc, sums: SecondPass) -> Acc {
    var acc = before;
    acc.sum_qv = run_sum_value(run_sum_join(sums.sum_qv));
    acc.sum_pu = run_sum_value(run_sum_join(sums.sum_pu));
    acc.notes = group_or(sums.notes);
    return acc;
}

// What `second_pass_join` made of a part of the row, as a lane's share.
fn second_pass_of(acc: Acc) -> SecondPass {
    return SecondPass(RunSum(acc.sum_qv, 0.0, 0.0), RunSum(acc.sum_pu, 0.0, 0.0), acc.notes);
}

fn row_result(row: Row, acc: Acc, upstream: Scale) -> RowResult {
    var loss = bitcast<u32>(max(acc.sum_pu + acc.sum_qv, 0.0) * params.square);
    var nan_mask = upstream.nan_mask;
    let both = FINITE_Q | FINITE_P;
    if (skips_row(row)) {
        loss = skipped_loss(row.label);
    } else if ((acc.notes & FOUND_NAN) != 0u || (acc.notes & both) != both) {
        loss = NAN_BITS;
        nan_mask = NAN_BITS;
    } else if ((acc.notes & MAKES_INF) != 0u) {
        loss = INF_BITS;
    }
    return RowResult(loss, nan_mask, upstream.factor * params.temperature);
}

// Where a reverse divergence is infinite, so is what Q_j is multiplied with.
fn grad_four(row: Row, acc: Acc, result: RowResult, term: vec4<u32>, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    if (!REVERSE && !JSD) {
        return bitcast<vec4<u32>>(result.scale * (probabilities(acc.q, x) - probabilities(acc.p, y)));
    }
    let terms = terms_of(acc, x, y);
    let g = bitcast<vec4<u32>>(result.scale * (terms.q * (terms.v - acc.sum_qv)));
    return select(g, vec4<u32>(NAN_BITS), vec4<bool>(REVERSE && result.loss == INF_BITS));
}

fn holds_terms() -> bool {
    return false;
}

fn grad_left_out(row: Row, result: RowResult) -> u32 {
    return 0u;
}

fn grad_target_four(row: Row, acc: Acc, result: RowResult, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    let terms = terms_of(acc, x, y);
    var g = terms.p * (terms.u - acc.sum_pu);
    if (REVERSE) {
        g = terms.p - terms.q;
    }
    return select(bitcast<vec4<u32>>(result.scale * g), vec4<u32>(NAN_BITS), vec4<bool>(!REVERSE && result.loss == INF_BITS));
}
