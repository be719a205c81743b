// Divergences between the softmaxes of two rows of logits, student x (input) and teacher y (target), at temperature T:
//
//   forward   T^2 KL(softmax(y / T) | softmax(x / T))
//   reverse   T^2 KL(softmax(x / T) | softmax(y / T))
//   JSD(b)    T^2 (b KL(P | M) + (1 - b) KL(Q | M)),  P = softmax(y / T), Q = softmax(x / T), M = b P + (1 - b) Q
//
// So both KL are one text: P is the softmax of the first row, Q of the second. The first row f is the teacher's, the second row s the
// student's, and in reverse the other way round. All is written in t_c = log(Q_c / P_c), which is small where the two are nearly equal,
// so that nothing is a difference of numbers that are nearly equal themselves:
//
//   KL = sum P g(t),  g(t) = exp t - 1 - t >= 0                     since sum P (exp t - 1) = sum Q - sum P = 0
//   JSD = sum M (b h(-(1 - b) e) + (1 - b) h(b e)),  e = (Q - P) / M,  h(z) = (1 + z) log(1 + z) - z >= 0
//                                                                   since P / M = 1 - (1 - b) e and Q / M = 1 + b e, and z sums to 0
//
// Where t is large P g is Q - P - P t, and a term of JSD is P u + Q v with u = b log(P / M), v = (1 - b) log(Q / M).
//
// The differences t. t_c = r_c / T - l with r_c = (s_c - max s) - (f_c - max f) and l = log d_Q - log d_P, where Q_c = exp(s_c / T - max) /
// d_Q. The difference s_c - f_c comes first, exactly, then the offset max s - max f is taken from it: x and y may be far from 0, and from
// each other. What is rounded of l, 1e-6 or so, all t have in common, and beside a small t that is a lot. But it can be told:
// where t is off by k, A = sum P (exp t - 1) is exp k - 1 and not 0, and from KL = -sum P t
//   KL = sum P g(t) - A + log(1 + A) = sum P g(t) - A^2 / 2 + ...
// In JSD a term is P b (1 - b) t^2 / 2 for small t, so that likewise b (1 - b) A^2 / 2 is too much.
//
// Gradients. KL: dT^2KL/ds_j = T (Q_j - P_j) = T P_j (exp t_j - 1), where t is small with t - log(1 + A) for t; and
//   dT^2KL/df_j = T P_j (sum_c P_c t_c - t_j) = P_j ((r_* - r_j) - sum_c P_c (r_* - r_c))
// for any r_*. That of the class with the largest f is taken: where P_* is nearly 1, no large numbers are left to cancel.
// JSD: dT^2JSD/ds_j = T Q_j (v_j - sum_c Q_c v_c),  dT^2JSD/df_j = T P_j (u_j - sum_c P_c u_c)
//
// Why. dQ_c/ds_j = Q_c ([c = j] - Q_j) / T, so a derivative g_c = d(loss / T^2)/dQ_c becomes
//   dloss/ds_j = T (Q_j g_j - Q_j sum_c Q_c g_c)
// and the same holds for f and P. KL: g = -P / Q, which gives Q - P; for P, g = log(P / Q) + 1, and the 1 drops out as every constant
// does. JSD = sum P u + Q v: g_c = v_c + k_c, where k_c is what u_c and v_c change by,
//   k = P du/dQ + Q dv/dQ = -b (1 - b) P / M + (1 - b) - (1 - b)^2 Q / M = (1 - b) (1 - (b P + (1 - b) Q) / M) = 0
// and the same with P and Q, b and 1 - b exchanged.
//
// G. Hinton et al., https://arxiv.org/abs/1503.02531 (temperature, T^2)
// R. Agarwal et al., https://arxiv.org/abs/2306.13649 (JSD)

struct Params {
    inverse_t: f32,         // 1 / T
    bound: f32,             // the largest number whose quotient by T f32 holds
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
    first: Soft,        // max f / 2 and d_P
    second: Soft,       // max s / 2 and d_Q
    at_peak: f32,       // half of s where f is largest
    // Of joined sums:
    offset: f32,        // (max s - max f) / 2, rounded, and
    offset_rest: f32,   // what that lost
    log_d: f32,         // l
    half_r_at_peak: f32,    // r_* / 2
    // Of the second pass:
    divergence: f32,    // T / 2 times the terms of the loss / T^2
    excess: f32,        // A
    first_mean: f32,    // KL: sum P (r_* - r) / 2, JSD: sum P u
    second_mean: f32,   // JSD: sum Q v
    notes: u32,
}

struct SecondPass {
    divergence: RunSum,
    excess: RunSum,
    first_mean: RunSum,
    second_mean: RunSum,
    notes: u32,
}

const FINITE_FIRST = 1u;    // some logit of the first row is finite
const FINITE_SECOND = 2u;
const FOUND_NAN = 4u;       // NaN or +inf among the logits
const MAKES_INF = 8u;       // Q is 0 where P is not

struct RowResult {
    loss: u32,
    nan_mask: u32,
    first_nan: u32,     // NAN_BITS where the gradient of the first row is no number: beside an infinite loss
    scale: f32,         // T grad_output / denominator, times the row's sample weight
    twice: f32,         // likewise, 2 in place of T
    too_much: f32,      // log(1 + A)
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

fn first_of(x: vec4<u32>, y: vec4<u32>) -> vec4<u32> {
    if (REVERSE) {
        return x;
    }
    return y;
}

fn second_of(x: vec4<u32>, y: vec4<u32>) -> vec4<u32> {
    if (REVERSE) {
        return y;
    }
    return x;
}

// Whether r_* is needed: for the gradient of the first row.
fn wants_peak() -> bool {
    return !JSD & ((REVERSE & WANT_GRAD) | (!REVERSE & WANT_GRAD_TARGET));
}

fn acc_new() -> Acc {
    return Acc(soft_new(), soft_new(), LOWEST_HALF, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0u);
}

// Half of four logits.
fn half4(bits: vec4<u32>) -> vec4<f32> {
    if (assume_finite) {
        return 0.5 * bitcast<vec4<f32>>(bits);
    }
    return 0.5 * ordinary4(bits);
}

// h / T.
fn tempered4(h: vec4<f32>) -> vec4<f32> {
    return over_t4(h, params.inverse_t, params.bound);
}

fn raise_peak(before: Acc, top_x: u32, top_y: u32) -> Acc {
    var acc = before;
    acc.first.peak = max(acc.first.peak, half4(first_of(vec4<u32>(top_x), vec4<u32>(top_y))).x);
    acc.second.peak = max(acc.second.peak, half4(second_of(vec4<u32>(top_x), vec4<u32>(top_y))).x);
    return acc;
}

fn peak_join(before: Acc) -> Acc {
    var acc = before;
    acc.first.peak = group_max(before.first.peak);
    acc.second.peak = group_max(before.second.peak);
    return acc;
}

fn moved(soft: Soft) -> Soft {
    return soft_move(soft, exp_twice4(tempered4(vec4<f32>(soft.half_m - soft.peak))).x);
}

fn acc_move(before: Acc) -> Acc {
    var acc = before;
    if (wants_peak()) {
        acc.at_peak = select(before.at_peak, LOWEST_HALF, before.first.half_m < before.first.peak);
    }
    acc.first = moved(before.first);
    acc.second = moved(before.second);
    return acc;
}

// (v - m) / 2T of four logits v, given their bits.
fn half_below4(soft: Soft, bits: vec4<u32>) -> vec4<f32> {
    return tempered4(half4(bits) - soft.half_m);
}

fn term_four(row: Row, acc: Acc, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    return bitcast<vec4<u32>>(exp_twice4(half_below4(acc.first, first_of(x, y))));
}

fn add_four(before: Acc, row: Row, term: vec4<u32>, x: vec4<u32>, y: vec4<u32>, j: u32, exists: vec4<bool>) -> Acc {
    var acc = before;
    let of_second = exp_twice4(half_below4(before.second, second_of(x, y)));
    acc.first.sum = run_sum_add(before.first.sum, bitcast<vec4<f32>>(term));
    acc.second.sum = run_sum_add(before.second.sum, select(vec4<f32>(0.0), of_second, exists));
    if (wants_peak()) {
        // The largest, where f is the largest in several places.
        let is_peak = exists & (half4(first_of(x, y)) == vec4<f32>(before.first.half_m));
        let found = select(vec4<f32>(LOWEST_HALF), half4(second_of(x, y)), is_peak);
        acc.at_peak = max(before.at_peak, max(max(found.x, found.y), max(found.z, found.w)));
    }
    return acc;
}

fn acc_join(lane_acc: Acc) -> Acc {
    var acc = lane_acc;
    acc.first = soft_join(lane_acc.first);
    acc.second = soft_join(lane_acc.second);
    let offset = exact_difference4(vec4<f32>(acc.second.half_m), vec4<f32>(acc.first.half_m));
    acc.offset = offset.rounded.x;
    acc.offset_rest = offset.rest.x;
    acc.log_d = ln(run_sum_value(acc.second.sum) / run_sum_value(acc.first.sum));
    if (wants_peak()) {
        acc.at_peak = group_max(lane_acc.at_peak);
        acc.half_r_at_peak = half_r4(acc, vec4<f32>(acc.first.half_m), vec4<f32>(acc.at_peak)).x;
    }
    return acc;
}

// r / 2, given half of the logits.
fn half_r4(acc: Acc, half_first: vec4<f32>, half_second: vec4<f32>) -> vec4<f32> {
    let difference = exact_difference4(half_second, half_first);
    return opaque4(difference.rounded - acc.offset) + (difference.rest - acc.offset_rest);
}

// Four classes.
struct Terms {
    p: vec4<f32>,
    q: vec4<f32>,
    half_r: vec4<f32>,
    t: vec4<f32>,
}

// (r_* - r) / 2, in range where P is not 0: there f is near its largest, and r_* is that of the largest.
fn half_above4(acc: Acc, terms: Terms) -> vec4<f32> {
    let at_peak = vec4<f32>(acc.half_r_at_peak);
    return at_peak - select(terms.half_r, at_peak, vec4<bool>(!assume_finite) & (terms.p == vec4<f32>(0.0)));
}

fn probabilities(soft: Soft, bits: vec4<u32>) -> vec4<f32> {
    let h = half_below4(soft, bits);
    let p = exp_twice4(h) * (1.0 / run_sum_value(soft.sum));
    if (assume_finite) {
        return p;
    }
    // From -44 on the exponential is 0, or something not above the smallest normal number, to which a huge t would lend weight.
    return select(p, vec4<f32>(0.0), (bits == vec4<u32>(NEG_INF_BITS)) | (h < vec4<f32>(-44.0)));
}

fn terms_of(acc: Acc, x: vec4<u32>, y: vec4<u32>) -> Terms {
    let first = first_of(x, y);
    let second = second_of(x, y);
    let half_r = half_r4(acc, half4(first), half4(second));
    var half_t = tempered4(half_r);
    if (TEMPERED | !assume_finite) {
        half_t = clamp(half_t, vec4<f32>(-0x1p126f), vec4<f32>(0x1p126f));
    }
    return Terms(probabilities(acc.first, first), probabilities(acc.second, second), half_r, 2.0 * half_t - acc.log_d);
}

// A t as far as expm1_rest4 takes it.
fn small4(t: vec4<f32>) -> vec4<f32> {
    return clamp(t, vec4<f32>(-1.0), vec4<f32>(1.0));
}

// P (exp t - 1), which is Q - P.
fn change4(p: vec4<f32>, q: vec4<f32>, t: vec4<f32>) -> vec4<f32> {
    let small = small4(t);
    return select(q - p, p * (small + expm1_rest4(small)), t == small);
}

// u and v of JSD, and what a class has of the loss.
struct Mixed {
    u: vec4<f32>,
    v: vec4<f32>,
    cost: vec4<f32>,
}

fn mixed(terms: Terms) -> Mixed {
    let b = params.beta;
    let c = 1.0 - b;
    let zero4 = vec4<f32>(0.0);
    // log(P / M) = -log(b + (1 - b) Q / P), log(Q / M) = -log((1 - b) + b P / Q)
    let decay = exp_twice4(-0.5 * abs(terms.t));
    let far_u = select(zero4, -b * log_ratio(b, c, terms.t, decay), terms.p > zero4);
    let far_v = select(zero4, -c * log_ratio(c, b, -terms.t, decay), terms.q > zero4);
    // For t within 1/4 both z of the header are within 0.3.
    let small = clamp(terms.t, vec4<f32>(-0.25), vec4<f32>(0.25));
    let near = terms.t == small;
    let growth = small + expm1_rest4(small);
    let m_by_p = 1.0 + c * growth;
    let e = growth / m_by_p;
    let cost = terms.p * m_by_p * (b * x_log_x_rest4(-c * e) + c * x_log_x_rest4(b * e));
    return Mixed(
        select(far_u, b * log1p_series4(-c * e), near),
        select(far_v, c * log1p_series4(b * e), near),
        select(terms.p * far_u + terms.q * far_v, cost, near),
    );
}

// log(a + b exp d), where a + b = 1, and `decay` is exp(-|d|), for |d| >= 1/4. For d > 0 it is d + log(b + a exp(-d)).
fn log_ratio(a: f32, b: f32, d: vec4<f32>, decay: vec4<f32>) -> vec4<f32> {
    let falls = d <= vec4<f32>(0.0);
    let factor = select(vec4<f32>(a), vec4<f32>(b), falls);
    let log_rest = log_near_one(factor * (decay - 1.0), (1.0 - factor) + factor * decay);
    return select(select(d + log_rest, vec4<f32>(0.0), vec4<bool>(b == 0.0)), log_rest, falls);
}

// log(1 + f), where v = 1 + f.
fn log_near_one(f: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
    let w = max(v, vec4<f32>(1.2e-38));
    let far = ln4(w);
    return select(far, log1p_series4(max(f, vec4<f32>(-0.28))), f > vec4<f32>(-0.28));
}

fn has_second_pass() -> bool {
    return true;
}

fn second_pass_new() -> SecondPass {
    return SecondPass(run_sum_new(), run_sum_new(), run_sum_new(), run_sum_new(), 0u);
}

fn note(condition: vec4<bool>, value: u32) -> u32 {
    return select(0u, value, any(condition));
}

// What the bits of four classes tell.
fn notes_of(first: vec4<u32>, second: vec4<u32>, p: vec4<f32>, exists: vec4<bool>) -> u32 {
    if (assume_finite) {
        return FINITE_FIRST | FINITE_SECOND;
    }
    let finite_first = (first & vec4<u32>(ABS_BITS)) < vec4<u32>(INF_BITS);
    let finite_second = (second & vec4<u32>(ABS_BITS)) < vec4<u32>(INF_BITS);
    let masked_first = first == vec4<u32>(NEG_INF_BITS);
    let masked_second = second == vec4<u32>(NEG_INF_BITS);
    let is_nan = !((finite_first | masked_first) & (finite_second | masked_second));
    let clash = masked_second & (p > vec4<f32>(0.0)) & vec4<bool>(!JSD);
    return note(finite_first & exists, FINITE_FIRST) | note(finite_second & exists, FINITE_SECOND)
        | note(is_nan & exists, FOUND_NAN) | note(clash & exists, MAKES_INF);
}

fn added(sum: RunSum, terms: vec4<f32>, exists: vec4<bool>) -> RunSum {
    return run_sum_add(sum, select(vec4<f32>(0.0), terms, exists));
}

fn second_pass_add(before: SecondPass, row: Row, acc: Acc, x: vec4<u32>, y: vec4<u32>, j: u32, exists: vec4<bool>) -> SecondPass {
    let terms = terms_of(acc, x, y);
    let p = terms.p;
    let half_t = 0.5 * params.temperature;
    var sums = before;
    sums.notes |= notes_of(first_of(x, y), second_of(x, y), p, exists);
    sums.excess = added(before.excess, change4(p, terms.q, terms.t), exists);
    if (JSD) {
        let mix = mixed(terms);
        sums.divergence = added(before.divergence, half_t * mix.cost, exists);
        sums.first_mean = added(before.first_mean, p * mix.u, exists);
        sums.second_mean = added(before.second_mean, terms.q * mix.v, exists);
        return sums;
    }
    // T / 2 (Q - P - P t): T t is r - T l, which stays within the range of f32.
    let far = half_t * (terms.q - p) - p * (terms.half_r - half_t * acc.log_d);
    let small = small4(terms.t);
    let cost = select(far, half_t * (p * expm1_rest4(small)), terms.t == small);
    sums.divergence = added(before.divergence, cost, exists);
    if (wants_peak()) {
        sums.first_mean = added(before.first_mean, p * half_above4(acc, terms), exists);
    }
    return sums;
}

fn second_pass_close(sums: SecondPass) -> SecondPass {
    return SecondPass(
        run_sum_close(sums.divergence),
        run_sum_close(sums.excess),
        run_sum_close(sums.first_mean),
        run_sum_close(sums.second_mean),
        sums.notes,
    );
}

fn second_pass_join(before: Acc, sums: SecondPass) -> Acc {
    var acc = before;
    acc.divergence = run_sum_value(run_sum_join(sums.divergence));
    acc.excess = run_sum_value(run_sum_join(sums.excess));
    if (JSD | wants_peak()) {
        acc.first_mean = run_sum_value(run_sum_join(sums.first_mean));
    }
    if (JSD) {
        acc.second_mean = run_sum_value(run_sum_join(sums.second_mean));
    }
    acc.notes = group_or(sums.notes);
    return acc;
}

fn of_part(sum: f32) -> RunSum {
    return RunSum(sum, 0.0, 0.0);
}

// What `second_pass_join` made of a part of the row, as a lane's share.
fn second_pass_of(acc: Acc) -> SecondPass {
    return SecondPass(of_part(acc.divergence), of_part(acc.excess), of_part(acc.first_mean), of_part(acc.second_mean), acc.notes);
}

fn row_result(row: Row, acc: Acc, upstream: Scale) -> RowResult {
    // A is of the order of 1e-6: its square is all that counts.
    let square = acc.excess * acc.excess;
    let share = select(1.0, params.beta * (1.0 - params.beta), JSD);
    let divergence = max(acc.divergence - 0.25 * params.temperature * share * square, 0.0);
    let scale = upstream.factor * params.temperature;
    var result = RowResult(
        twice_bits(params.temperature * divergence), upstream.nan_mask, 0u, scale, 2.0 * upstream.factor, acc.excess - 0.5 * square,
    );
    let both = FINITE_FIRST | FINITE_SECOND;
    if (skips_row(row)) {
        result.loss = skipped_loss(row.label);
    } else if (((acc.notes & FOUND_NAN) != 0u) | ((acc.notes & both) != both)) {
        result.loss = NAN_BITS;
        result.nan_mask = NAN_BITS;
    } else if ((acc.notes & MAKES_INF) != 0u) {
        result.loss = INF_BITS;
        result.first_nan = NAN_BITS;
    }
    return result;
}

fn grad_first(acc: Acc, result: RowResult, terms: Terms) -> vec4<u32> {
    if (JSD) {
        return bitcast<vec4<u32>>(result.scale * (terms.p * (mixed(terms).u - acc.first_mean)));
    }
    let g = result.twice * (terms.p * (half_above4(acc, terms) - acc.first_mean));
    return bitcast<vec4<u32>>(g) | vec4<u32>(result.first_nan);
}

fn grad_second(acc: Acc, result: RowResult, terms: Terms) -> vec4<u32> {
    if (JSD) {
        return bitcast<vec4<u32>>(result.scale * (terms.q * (mixed(terms).v - acc.second_mean)));
    }
    return bitcast<vec4<u32>>(result.scale * change4(terms.p, terms.q, terms.t - result.too_much));
}

fn grad_four(row: Row, acc: Acc, result: RowResult, term: vec4<u32>, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    let terms = terms_of(acc, x, y);
    if (REVERSE) {
        return grad_first(acc, result, terms);
    }
    return grad_second(acc, result, terms);
}

fn grad_target_four(row: Row, acc: Acc, result: RowResult, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    let terms = terms_of(acc, x, y);
    if (REVERSE) {
        return grad_second(acc, result, terms);
    }
    return grad_first(acc, result, terms);
}

fn holds_terms() -> bool {
    return false;
}

fn grad_left_out(row: Row, result: RowResult) -> u32 {
    return 0u;
}
