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
// smoothing only a_t is not 0, so there is no second pass, and the gradient at t is a_t h_t (1 - p_t) = a_t h_t s / d. As p tends to 1,
// p log p / (1 - p) tends to -1: with h written like this, nothing is divided by 0 for g < 1.

struct Params {
    gamma: f32,         // g
    hard: f32,          // 1 - e
    soft: f32,          // e / C
}

override SMOOTHING: bool = false;

const ACCUMULATES = true;

struct Row {
    at: u32,
    label: Label,
    t_bits: u32,        // the target's logit
}

struct Acc {
    online: Soft,       // m / 2 of all classes, and s: without the target's
    found: u32,         // of joined lanes: FOUND_NAN, HAS_FINITE
    // With smoothing, of the second pass:
    infinite: u32,      // 1 if a class with a_c != 0 has probability 0
    half_loss: f32,     // sum_c a_c f(p_c) / 2
    sum_ah: f32,        // sum_c a_c h_c
}

const FOUND_NAN = 1u;       // some logit is NaN or +inf
const HAS_FINITE = 2u;      // some logit is finite

struct SecondPass {
    half_loss: RunSum,
    sum_ah: RunSum,
    infinite: u32,
}

struct RowResult {
    loss: u32,
    nan_mask: u32,
    log_d: f32,
    d: f32,
    s: f32,
    scale: f32,
    sum_ah: f32,
    at_label: f32,      // gradient at t
}

fn open_row(index: u32, at: u32) -> Row {
    let label = label_of_row(index, read_label(target_index(index)));
    return Row(at, label, load_logit(at, label.class_index));
}

fn skips_row(row: Row) -> bool {
    return row.label.state != COUNTS;
}

fn left_out(row: Row) -> u32 {
    return row.label.class_index;
}

// x / 2 of four logits.
fn half4(bits: vec4<u32>) -> vec4<f32> {
    if (assume_finite) {
        return 0.5 * bitcast<vec4<f32>>(bits);
    }
    return 0.5 * ordinary4(bits);
}

// a_c of four classes.
fn shares(row: Row, j: u32) -> vec4<f32> {
    let is_label = classes_of(j) == vec4<u32>(row.label.class_index);
    return class_weights(classes_of(j)) * (params.soft + select(vec4<f32>(0.0), vec4<f32>(params.hard), is_label));
}

fn acc_new() -> Acc {
    return Acc(soft_new(), 0u, 0u, 0.0, 0.0);
}

fn raise_peak(before: Acc, top_x: u32, top_y: u32) -> Acc {
    var acc = before;
    acc.online.peak = max(acc.online.peak, half4(vec4<u32>(top_x)).x);
    return acc;
}

fn peak_join(before: Acc) -> Acc {
    var acc = before;
    acc.online.peak = group_max(before.online.peak);
    return acc;
}

fn acc_move(before: Acc) -> Acc {
    var acc = before;
    acc.online = soft_move(before.online, exp_twice(before.online.half_m - before.online.peak));
    return acc;
}

fn term_four(row: Row, acc: Acc, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    return bitcast<vec4<u32>>(exp_twice4(half4(x) - acc.online.half_m));
}

fn add_four(before: Acc, row: Row, term: vec4<u32>, x: vec4<u32>, y: vec4<u32>, j: u32, exists: vec4<bool>) -> Acc {
    var acc = before;
    acc.online.sum = run_sum_add(before.online.sum, bitcast<vec4<f32>>(term));
    return acc;
}

fn acc_join(lane_acc: Acc) -> Acc {
    var acc = lane_acc;
    acc.online = soft_join(lane_acc.online);
    let nan = (most_negative(extremes) > NEG_INF_BITS) | (most_positive(extremes) > 0x7f7fffff);
    let finite = smallest_bits(extremes) < NEG_INF_BITS;
    acc.found = join_found(lane_acc.found | select(0u, FOUND_NAN, nan) | select(0u, HAS_FINITE, finite));
    return acc;
}

// Four classes c: f(p_c) / 2 and h_c.
struct Terms {
    half_loss: vec4<f32>,
    h: vec4<f32>,
}

// e_t = exp(x_t - m).
fn e_label(row: Row, half_m: f32) -> f32 {
    return exp_twice(0.5 * ordinary(row.t_bits) - half_m);
}

// log d.
fn log_sum(s: f32, e_t: f32) -> f32 {
    return log1p(select((s + e_t) - 1.0, s, e_t == 1.0));
}

// Given p_c, 1 - p_c and (m - x_c) / 2.
fn terms_of(p: vec4<f32>, one_minus_p: vec4<f32>, half_below_max: vec4<f32>, log_d: f32) -> Terms {
    let left = max(one_minus_p, vec4<f32>(0.0));
    // -log p = (m - x) + log d, halved against overflow.
    let half_cost = half_below_max + 0.5 * log_d;
    let focus = unit_power4(left, params.gamma);
    // p log p / (1 - p), -1 in the limit. From -log p = 128 on p is 0, or something not above the smallest normal number, to which a
    // huge logarithm would lend weight.
    let slope = select(-2.0 * (p * min(half_cost, vec4<f32>(64.0)) / left), vec4<f32>(-1.0), left < vec4<f32>(1e-30));
    return Terms(focus * half_cost, focus * (params.gamma * slope - 1.0));
}

// Of the label's class, four times.
fn label_terms(row: Row, half_m: f32, s: f32, e_t: f32, log_d: f32) -> Terms {
    let d = s + e_t;
    return terms_of(vec4<f32>(e_t / d), vec4<f32>(s / d), vec4<f32>(half_m - 0.5 * ordinary(row.t_bits)), log_d);
}

fn has_second_pass() -> bool {
    return SMOOTHING;
}

fn second_pass_new() -> SecondPass {
    return SecondPass(run_sum_new(), run_sum_new(), 0u);
}

// Every class but the label's, which row_result adds.
fn second_pass_add(before: SecondPass, row: Row, acc: Acc, x: vec4<u32>, y: vec4<u32>, j: u32, exists: vec4<bool>) -> SecondPass {
    let counts = exists & (classes_of(j) != vec4<u32>(row.label.class_index));
    let a = select(vec4<f32>(0.0), shares(row, j), counts);
    let s = run_sum_value(acc.online.sum);
    let e_t = e_label(row, acc.online.half_m);
    let inverse_d = 1.0 / (s + e_t);
    let log_d = log_sum(s, e_t);
    let below = vec4<f32>(acc.online.half_m) - 0.5 * ordinary4(x);
    let p = exp_twice4(-below) * inverse_d;
    let terms = terms_of(p, 1.0 - p, below, log_d);
    let infinite = any((x == vec4<u32>(NEG_INF_BITS)) & (a != vec4<f32>(0.0)));
    // Compilers take a common a out of a sum, and the sum of four huge losses leaves the range of f32.
    let half_losses = opaque4(a * terms.half_loss);
    return SecondPass(
        run_sum_add(before.half_loss, half_losses),
        run_sum_add(before.sum_ah, a * terms.h),
        before.infinite | select(0u, 1u, infinite),
    );
}

// Ends the runs.
fn second_pass_close(sums: SecondPass) -> SecondPass {
    return SecondPass(run_sum_close(sums.half_loss), run_sum_close(sums.sum_ah), sums.infinite);
}

fn second_pass_join(before: Acc, sums: SecondPass) -> Acc {
    var acc = before;
    acc.half_loss = run_sum_value(run_sum_join(sums.half_loss));
    acc.sum_ah = run_sum_value(run_sum_join(sums.sum_ah));
    acc.infinite = group_or(sums.infinite);
    return acc;
}

// What `second_pass_join` made of a part of the row, as a lane's share.
fn second_pass_of(acc: Acc) -> SecondPass {
    return SecondPass(RunSum(acc.half_loss, 0.0, 0.0), RunSum(acc.sum_ah, 0.0, 0.0), acc.infinite);
}

fn row_result(row: Row, acc: Acc, upstream: Scale) -> RowResult {
    let s = run_sum_value(acc.online.sum);
    let e_t = e_label(row, acc.online.half_m);
    let d = s + e_t;
    let log_d = log_sum(s, e_t);
    let w = class_weight(row.label.class_index);
    let a_t = w * (params.hard + params.soft);
    let own = label_terms(row, acc.online.half_m, s, e_t, log_d);
    let sum_ah = acc.sum_ah + a_t * own.h.x;
    var loss = twice_bits(acc.half_loss + a_t * own.half_loss.x);
    var nan_mask = upstream.nan_mask;
    let t_is_infinite = (row.t_bits == NEG_INF_BITS) & (a_t != 0.0);
    if (skips_row(row)) {
        loss = skipped_loss(row.label);
    } else if (((acc.found & FOUND_NAN) != 0u) | ((acc.found & HAS_FINITE) == 0u)) {
        loss = NAN_BITS;
        nan_mask = NAN_BITS;
    } else if ((acc.infinite != 0u) | t_is_infinite) {
        loss = INF_BITS;
    }
    // a_t h_t (1 - p_t) - p_t sum of the other a_c h_c
    let at_label = upstream.factor * (a_t * own.h.x * (s / d) - acc.sum_ah * (e_t / d));
    return RowResult(loss, nan_mask, log_d, d, s, upstream.factor, sum_ah, at_label);
}

// Without smoothing a_j is 0 but at the label.
fn grad_four(row: Row, acc: Acc, result: RowResult, term: vec4<u32>, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    let p = bitcast<vec4<f32>>(term) * (1.0 / result.d);
    var g = -p * result.sum_ah;
    if (SMOOTHING) {
        let below = vec4<f32>(acc.online.half_m) - half4(x);
        g += class_weights(classes_of(j)) * params.soft * terms_of(p, 1.0 - p, below, result.log_d).h;
    }
    return bitcast<vec4<u32>>(result.scale * g);
}

fn holds_terms() -> bool {
    return !SMOOTHING;
}

fn grad_left_out(row: Row, result: RowResult) -> u32 {
    return bitcast<u32>(result.at_label);
}

fn grad_target_four(row: Row, acc: Acc, result: RowResult, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    return vec4<u32>(0u);
}
