// Cross-entropy over rows of logits x, with class weights w and label smoothing e:
//
//   q_c = (1 - e) y_c + e / C        y: one-hot of the class index t, or the row of target probabilities
//   a_c = w_c q_c,  A = sum_c a_c
//   loss = sum_c a_c (lse - x_c) = A log d + sum_c a_c (m - x_c)      m = max x, d = sum exp(x_c - m), lse = m + log d
//   dloss/dx_j = A p_j - a_j                                         p_j = exp(x_j - m) / d
//   dloss/dy_j = (1 - e) w_j (lse - x_j)
//
// https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html
//
// Confident rows. s = sum over c != t of exp(x_c - m) is kept apart from e_t = exp(x_t - m), and d = s + e_t. Where
// x_t = m, log d is log1p(s). The gradient at t is written with p_t - 1 = -s / d. Neither loses digits when s is tiny:
//   dloss/dx_t = (1 - e) w_t (p_t - 1) + (A - (1 - e) w_t) p_t - w_t e / C
//
// Online. Where a row is not held, one pass keeps the largest x so far as m. When a block brings a larger one, m', every sum moves with it:
//   sum exp(x_c - m') = exp(m - m') sum exp(x_c - m)
//   sum a_c (m' - x_c) = sum a_c (m - x_c) + (m' - m) sum a_c
// Lanes are joined by the same two rules, with m' the largest of theirs.
//
// Halves. x_c - m may overflow, half of it cannot: x, m and their differences are kept halved (see exp_twice4).
//
// Beyond PyTorch:
//
// Softcap, temperature T. x = cap tanh(v / cap) of the logit v, and x_c - m above is (x_c - m) / T: differences are divided (see
// lib/softmax.wgsl), and lse = m / T + log d. With b = exp(-2 |v / cap|), tanh |v / cap| is (1 - b) / (1 + b), so the slope is
// written without the difference 1 - tanh^2, which cancels at large v:
//   d(x / T)/dv = (1 - tanh^2(v / cap)) / T = 4 b / (1 + b)^2 / T
//
// z-loss. z lse^2 is added to the loss. Since dlse/dx_j = p_j, the A beside p_j becomes A + 2 z lse:
//   d(z lse^2)/dx_j = 2 z lse p_j
//
// Entropy of the row. log p_j = x_j - m - log d and sum_j p_j = 1, so
//   H = -sum_j p_j log p_j = log d + sum_j p_j (m - x_j) = log d + E / d,  E = sum_j exp(x_j - m) (m - x_j)
// and to a larger maximum m' the running E moves by
//   sum exp(x_j - m') (m' - x_j) = exp(m - m') (E + (m' - m) sum exp(x_j - m))

struct Params {
    hard: f32,              // 1 - e: the share of y
    soft: f32,              // e / C: the share of every class
    z: f32,                 // of the z-loss
    inverse_t: f32,         // 1 / T
    bound: f32,             // the largest number whose quotient by T f32 holds
    cap: f32,               // of the softcap
    inverse_cap: f32,       // 1 / cap
}

override PROBABILITIES: bool = false;   // target holds probabilities, else class indices
override SMOOTHING: bool = false;
override CAPPED: bool = false;
override Z_LOSS: bool = false;

const ACCUMULATES = true;

// What the bits of a row's logits tell.
const NONFINITE = 1u;       // some logit is NaN or infinite
const FOUND_NAN = 2u;       // some logit is NaN, or +inf and not capped: loss and gradient are NaN
const HAS_FINITE = 4u;      // some logit is not -inf, or is a capped -inf, which is finite

struct Row {
    index: u32,
    at: u32,            // element of class 0
    label: Label,       // class NO_CLASS where the target holds probabilities
    t_bits: u32,        // the logit of the class index: asked for early, since all that comes after the sums waits for it
}

struct Acc {
    online: Soft,       // m / 2 of all classes, and s: without the class index
    // Of a_c without the part (1 - e) w_t of the class index, which row_result adds:
    sum_a: RunSum,      // sum a_c, and
    half_rest: RunSum,  // sum a_c (m - x_c) / 2, without 1 / T
    half_entropy: RunSum,   // E / 2 over the classes other than the class index
    best: u32,          // the first class with the largest logit
    found: u32,         // of joined lanes: NONFINITE, FOUND_NAN, HAS_FINITE
}

struct RowResult {
    loss: u32,
    nan_mask: u32,
    log_d: f32,
    scale: f32,         // grad_output / denominator, times the row's sample weight
    scale_p: f32,       // scale (A + 2 z lse) / d: times exp(x_j - m)
    at_label: f32,      // gradient at the class index
}

fn open_row(index: u32, at: u32) -> Row {
    if (PROBABILITIES) {
        return Row(index, at, label_of_row(index, Label(NO_CLASS, COUNTS)), 0u);
    }
    let label = label_of_row(index, read_label(target_index(index)));
    return Row(index, at, label, load_logit(at, label.class_index));
}

fn skips_row(row: Row) -> bool {
    return row.label.state != COUNTS;
}

fn left_out(row: Row) -> u32 {
    return row.label.class_index;
}

// x / 2 of four logits v.
fn half_x4(bits: vec4<u32>) -> vec4<f32> {
    if (CAPPED) {
        let ratio = clamp(ordinary4(bits) * params.inverse_cap, vec4<f32>(-50.0), vec4<f32>(50.0));
        return 0.5 * (params.cap * tanh4(ratio));
    }
    if (assume_finite) {
        return 0.5 * bitcast<vec4<f32>>(bits);
    }
    return 0.5 * ordinary4(bits);
}

// h / T.
fn tempered4(h: vec4<f32>) -> vec4<f32> {
    return over_t4(h, params.inverse_t, params.bound);
}

fn tempered(h: f32) -> f32 {
    return tempered4(vec4<f32>(h)).x;
}

// d(x / T)/dv of four logits v.
fn slope4(bits: vec4<u32>) -> vec4<f32> {
    let outer = vec4<f32>(params.inverse_t);
    if (CAPPED) {
        let ratio = clamp(ordinary4(bits) * params.inverse_cap, vec4<f32>(-50.0), vec4<f32>(50.0));
        let b = exp_twice4(-abs(ratio));
        return outer * (4.0 * b / ((1.0 + b) * (1.0 + b)));
    }
    return outer;
}

// q_c of four classes, without the share 1 - e of the class index.
fn spread_four(y: vec4<u32>) -> vec4<f32> {
    if (PROBABILITIES) {
        return params.hard * bitcast<vec4<f32>>(y) + params.soft;
    }
    return vec4<f32>(params.soft);
}

// a_c likewise.
fn weighted_four(y: vec4<u32>, j: u32) -> vec4<f32> {
    return spread_four(y) * class_weights(classes_of(j));
}

fn acc_new() -> Acc {
    return Acc(soft_new(), run_sum_new(), run_sum_new(), run_sum_new(), NO_CLASS, 0u);
}

// x is larger where the logit is, capped or not.
fn raise_peak(before: Acc, top_x: u32, top_y: u32) -> Acc {
    var acc = before;
    acc.online.peak = max(acc.online.peak, half_x4(vec4<u32>(top_x)).x);
    return acc;
}

fn peak_join(before: Acc) -> Acc {
    var acc = before;
    acc.online.peak = group_max(before.online.peak);
    return acc;
}

fn acc_move(before: Acc) -> Acc {
    var acc = before;
    let drop = before.online.half_m - before.online.peak;
    let fall = tempered(drop);
    let factor = exp_twice(fall);
    acc.online = soft_move(before.online, factor);
    if (WANT_STATS) {
        acc.half_entropy = run_sum_times(run_sum_close(before.half_entropy), factor);
        acc.half_entropy.total += beside_exp(-fall) * run_sum_value(acc.online.sum);
        acc.best = select(before.best, NO_CLASS, drop < 0.0);
    }
    if (SMOOTHING | PROBABILITIES) {
        acc.half_rest = run_sum_close(before.half_rest);
        acc.sum_a = run_sum_close(before.sum_a);
        acc.half_rest.run = -drop * run_sum_value(acc.sum_a);
        acc.half_rest = run_sum_close(acc.half_rest);
    }
    return acc;
}

fn term_four(row: Row, acc: Acc, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    return bitcast<vec4<u32>>(exp_twice4(tempered4(half_x4(x) - acc.online.half_m)));
}

// What exp(-2 h) may be multiplied with, for h >= 0: h. From 64 on the exponential is 0, or something not above the smallest normal
// number, to which a huge h would lend weight.
fn beside_exp4(h: vec4<f32>) -> vec4<f32> {
    return min(h, vec4<f32>(64.0));
}

fn beside_exp(h: f32) -> f32 {
    return beside_exp4(vec4<f32>(h)).x;
}

fn add_four(before: Acc, row: Row, term: vec4<u32>, x: vec4<u32>, y: vec4<u32>, j: u32, exists: vec4<bool>) -> Acc {
    var acc = before;
    let e = bitcast<vec4<f32>>(term);
    acc.online.sum = run_sum_add(before.online.sum, e);
    if (WANT_STATS) {
        let h = half_x4(x);
        acc.half_entropy = run_sum_add(before.half_entropy, e * beside_exp4(tempered4(before.online.half_m - h)));
        let classes = select(vec4<u32>(NO_CLASS), classes_of(j), (h == vec4<f32>(before.online.half_m)) & exists);
        acc.best = min(before.best, min(min(classes.x, classes.y), min(classes.z, classes.w)));
    }
    if (SMOOTHING | PROBABILITIES) {
        let a = select(vec4<f32>(0.0), weighted_four(y, j), exists);
        var rest = a * (before.online.half_m - half_x4(x));
        if (!assume_finite) {
            // Compilers take a common a out of a sum, and the sum of four huge distances leaves the range of f32.
            rest = opaque4(rest);
        }
        acc.half_rest = run_sum_add(before.half_rest, rest);
        acc.sum_a = run_sum_add(before.sum_a, a);
    }
    return acc;
}

fn acc_join(lane_acc: Acc) -> Acc {
    var acc = lane_acc;
    acc.online = soft_join(lane_acc.online);
    if (WANT_STATS) {
        acc.half_entropy = run_sum_join(lane_acc.half_entropy);
        acc.best = group_min_u(lane_acc.best);
    }
    if (SMOOTHING | PROBABILITIES) {
        acc.half_rest = run_sum_join(lane_acc.half_rest);
        acc.sum_a = run_sum_join(lane_acc.sum_a);
    }
    acc.found = join_found(lane_acc.found | findings());
    return acc;
}

fn findings() -> u32 {
    let negative = most_negative(extremes);
    let positive = most_positive(extremes);
    let smallest = smallest_bits(extremes);
    // A capped infinity is finite.
    let found_nan = (negative > NEG_INF_BITS) | (positive > select(0x7f7fffff, 0x7f800000, CAPPED));
    return select(0u, NONFINITE, (negative >= NEG_INF_BITS) | (positive >= 0x7f800000))
        | select(0u, FOUND_NAN, found_nan)
        | select(0u, HAS_FINITE, (smallest < NEG_INF_BITS) | (CAPPED & (smallest == NEG_INF_BITS)));
}

// What a -inf logit makes of the loss.
const MAKES_NAN = 8u;       // a -inf logit with q_c != 0 but w_c = 0: the loss alone is NaN
const MAKES_INF = 16u;      // a -inf logit with a_c > 0
const MAKES_NEG_INF = 32u;  // with a_c < 0
const BOTH_INF = 48u;

// Only the class index' logit matters, unless every class has a share of the target.
fn classify(row: Row, found: u32, t_bits: u32) -> u32 {
    if (!SMOOTHING & !PROBABILITIES) {
        return classify_logit(t_bits, params.hard, class_weight(row.label.class_index));
    }
    var notes = 0u;
    let pairs = row_pairs(row.at);
    // An ordinary row leaves this loop at once.
    for (var p = select(pairs, 0u, (found & NONFINITE) != 0u); p < pairs; p += 1u) {
        let x = load_pair(row.at, p);
        let y = target_pair(row.at, p);
        let j = pair_classes(row.at, p);
        notes |= classify_four(row, x.a, y.a, j.x) | classify_four(row, x.b, y.b, j.y);
    }
    return group_or(notes);
}

fn classify_four(row: Row, x: vec4<u32>, y: vec4<u32>, j: u32) -> u32 {
    let at_label = select(vec4<f32>(0.0), vec4<f32>(params.hard), classes_of(j) == vec4<u32>(row.label.class_index));
    let share = select(vec4<f32>(0.0), spread_four(y) + at_label, exist_of(j));
    let w = class_weights(classes_of(j));
    return classify_logit(x.x, share.x, w.x) | classify_logit(x.y, share.y, w.y)
        | classify_logit(x.z, share.z, w.z) | classify_logit(x.w, share.w, w.w);
}

// Of a class with the share q_c and the weight w_c.
fn classify_logit(bits: u32, q: f32, w: f32) -> u32 {
    if ((bits != NEG_INF_BITS) | CAPPED) {
        return 0u;
    }
    // Probability 0 on a masked class is ordinary; a weight of 0 times an infinite loss is not.
    if (q == 0.0) {
        return 0u;
    }
    let a = q * w;
    if (a == 0.0) {
        return MAKES_NAN;
    }
    return select(MAKES_INF, MAKES_NEG_INF, a < 0.0);
}

fn row_result(row: Row, acc: Acc, upstream: Scale) -> RowResult {
    var result: RowResult;
    let t_bits = row.t_bits;
    let found = acc.found | classify(row, select(acc.found, 0u, skips_row(row)), t_bits);
    let half_t = half_x4(vec4<u32>(t_bits)).x;
    let half_max_minus_target = acc.online.half_m - half_t;
    let half_target_cost = tempered(half_max_minus_target);
    let e_t = select(exp_twice(-half_target_cost), 0.0, PROBABILITIES);
    let s = run_sum_value(acc.online.sum);
    let d = s + e_t;

    let inverse_d = 1.0 / d;
    // Some exp(x_c - m) is 1, so that d - 1 is what the others add up to; where it is the class index', s is that with all its digits.
    result.log_d = log1p(select(d - 1.0, s, !PROBABILITIES & (half_max_minus_target == 0.0)));
    let spread_a = run_sum_value(acc.sum_a);
    var sum_a = spread_a;
    var half_rest = run_sum_value(acc.half_rest);
    // (1 - e) w_t
    var target_weight = 0.0;
    if (!PROBABILITIES) {
        target_weight = params.hard * class_weight(row.label.class_index);
        sum_a += target_weight;
        half_rest += target_weight * half_max_minus_target;
    }
    let half_lse = tempered(acc.online.half_m) + 0.5 * result.log_d;
    var half_loss = 0.5 * sum_a * result.log_d + tempered(half_rest);
    // d(z lse^2) / d lse
    var dz_dlse = 0.0;
    if (Z_LOSS) {
        // The square alone would leave the range of f32 where z times it does not.
        let z_lse = opaque(2.0 * params.z * half_lse);
        half_loss += z_lse * half_lse;
        // Bounded, for it meets probabilities that are 0.
        dz_dlse = 2.0 * clamp(z_lse, -0x1p125f, 0x1p125f);
    }
    result.loss = select(twice_bits(half_loss), bitcast<u32>(half_loss + half_loss), assume_finite);
    let scale = upstream.factor;
    result.scale = scale;
    result.nan_mask = upstream.nan_mask;
    result.scale_p = scale * (sum_a + dz_dlse) * inverse_d;
    // dloss/dx_t in the order of the header, then 2 z lse p_t.
    result.at_label = -scale * target_weight * (s * inverse_d);
    if (SMOOTHING & !PROBABILITIES) {
        result.at_label += scale * (spread_a * (e_t * inverse_d) - params.soft * class_weight(row.label.class_index));
    }
    if (Z_LOSS) {
        result.at_label += scale * dz_dlse * (e_t * inverse_d);
    }
    if (TEMPERED | CAPPED) {
        result.at_label *= slope4(vec4<u32>(t_bits)).x;
    }

    if (skips_row(row)) {
        result.loss = skipped_loss(row.label);
    } else if ((found & NONFINITE) != 0u) {
        if (((found & HAS_FINITE) == 0u) | ((found & FOUND_NAN) != 0u)) {
            result.loss = NAN_BITS;
            result.nan_mask = NAN_BITS;
        } else if (((found & MAKES_NAN) != 0u) | ((found & BOTH_INF) == BOTH_INF)) {
            result.loss = NAN_BITS;
        } else if ((found & MAKES_INF) != 0u) {
            result.loss = INF_BITS;
        } else if ((found & MAKES_NEG_INF) != 0u) {
            result.loss = NEG_INF_BITS;
        }
    }
    if (WANT_STATS & stores_row) {
        let unknown = skips_row(row) | (result.nan_mask != 0u);
        let spread_out = run_sum_value(acc.half_entropy) + e_t * beside_exp(half_target_cost);
        let entropy = result.log_d + 2.0 * spread_out * inverse_d;
        let best = select(acc.best, 0u, acc.best == NO_CLASS);
        store_stats(row.index, vec4<u32>(
            select(twice_bits(half_lse), NAN_BITS, unknown),
            select(bitcast<u32>(entropy), NAN_BITS, unknown),
            select(best, NO_CLASS, unknown),
            select(0u, 1u, !unknown & (best == row.label.class_index)),
        ));
    }
    return result;
}

fn grad_four(row: Row, acc: Acc, result: RowResult, term: vec4<u32>, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    var g = bitcast<vec4<f32>>(term) * result.scale_p;
    if (SMOOTHING | PROBABILITIES) {
        g -= result.scale * weighted_four(y, j);
    }
    if (TEMPERED | CAPPED) {
        g *= slope4(x);
    }
    return bitcast<vec4<u32>>(g);
}

fn holds_terms() -> bool {
    return !(CAPPED | PROBABILITIES | WANT_GRAD_TARGET);
}

fn grad_left_out(row: Row, result: RowResult) -> u32 {
    return bitcast<u32>(result.at_label);
}

fn grad_target_four(row: Row, acc: Acc, result: RowResult, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    let factor = result.scale * params.hard * class_weights(classes_of(j));
    let half_l = tempered4(acc.online.half_m - half_x4(x)) + 0.5 * result.log_d;
    // Opaque, as compilers double half_l first, which may overflow.
    let g = opaque4(factor * half_l);
    let finite = vec4<u32>(twice_bits(g.x), twice_bits(g.y), twice_bits(g.z), twice_bits(g.w));
    let infinite = select(vec4<u32>(INF_BITS), vec4<u32>(NEG_INF_BITS), factor < vec4<f32>(0.0));
    let masked = select(infinite, vec4<u32>(NAN_BITS), factor == vec4<f32>(0.0));
    return select(finite, masked, (x == vec4<u32>(NEG_INF_BITS)) & vec4<bool>(!CAPPED));
}
