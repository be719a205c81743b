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
// Online. One pass keeps the largest x so far as m. When a block brings a larger one, m', every sum moves with it:
//   sum exp(x_c - m') = exp(m - m') sum exp(x_c - m)
//   sum a_c (m' - x_c) = sum a_c (m - x_c) + (m' - m) sum a_c
// Lanes are joined by the same two rules, with m' the largest of theirs.
//
// Halves. x_c - m may overflow, half of it cannot: x, m and their differences are kept halved (see exp_twice4).
//
// Beyond PyTorch:
//
// Softcap, temperature T. x = cap tanh(v / cap) / T of the logit v. With b = exp(-2 |v / cap|), tanh |v / cap| is
// (1 - b) / (1 + b), so the slope is written without the difference 1 - tanh^2, which cancels at large v:
//   dx/dv = (1 - tanh^2(v / cap)) / T = 4 b / (1 + b)^2 / T
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
    half_inverse_t: f32,    // 1 / (2 T)
    cap: f32,               // of the softcap
    inverse_cap: f32,       // 1 / cap
}

override PROBABILITIES: bool = false;   // target holds probabilities, else class indices
override SMOOTHING: bool = false;
override TEMPERED: bool = false;        // T is not 1
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
}

struct Acc {
    online: Soft,       // m / 2 of all classes, and s: without the class index
    // Of a_c without the part (1 - e) w_t of the class index, which row_result adds:
    sum_a: f32,         // sum a_c, and
    half_rest: f32,     // sum a_c (m - x_c) / 2
    // Three extremes of the logits' bits tell of NaN and infinities (see findings). As unsigned integers, -inf and
    // negative NaN are the largest floats. As signed integers, +inf and positive NaN are.
    largest: vec4<u32>,
    largest_signed: vec4<i32>,
    smallest: vec4<u32>,
    found: u32,         // of joined lanes: NONFINITE, FOUND_NAN, HAS_FINITE
    half_entropy: f32,  // E / 2 over the classes other than the class index
    best: u32,          // the first class with the largest logit
}

struct RowResult {
    loss: u32,
    nan_mask: u32,
    half_m: f32,
    log_d: f32,
    scale: f32,         // grad_output / denominator, times the row's sample weight
    scale_p: f32,       // scale (A + 2 z lse) / d: times exp(x_j - m)
    at_label: f32,      // gradient at the class index
}

fn open_row(index: u32, at: u32) -> Row {
    if (PROBABILITIES) {
        return Row(index, at, Label(NO_CLASS, COUNTS));
    }
    return Row(index, at, read_label(target_index(index)));
}

fn skips_row(row: Row) -> bool {
    return row.label.state != COUNTS;
}

// x / 2 of four logits v.
fn half_x4(bits: vec4<u32>) -> vec4<f32> {
    if (CAPPED) {
        let ratio = clamp(ordinary4(bits) * params.inverse_cap, vec4<f32>(-50.0), vec4<f32>(50.0));
        return params.half_inverse_t * params.cap * tanh4(ratio);
    }
    if (TEMPERED) {
        let limit = 0x1.fffffep+126f;
        return clamp(ordinary4(bits) * params.half_inverse_t, vec4<f32>(-limit), vec4<f32>(limit));
    }
    return 0.5 * ordinary4(bits);
}

// dx/dv of four logits v.
fn slope4(bits: vec4<u32>) -> vec4<f32> {
    let outer = vec4<f32>(2.0 * params.half_inverse_t);
    if (CAPPED) {
        let ratio = clamp(ordinary4(bits) * params.inverse_cap, vec4<f32>(-50.0), vec4<f32>(50.0));
        let b = exp_twice4(-abs(ratio));
        return outer * (4.0 * b / ((1.0 + b) * (1.0 + b)));
    }
    return outer;
}

// q_c of four classes, without the share 1 - e of the class index.
fn spread_four(row: Row, j: u32) -> vec4<f32> {
    if (PROBABILITIES) {
        return params.hard * bitcast<vec4<f32>>(target_four(row.at, j)) + params.soft;
    }
    return vec4<f32>(params.soft);
}

// a_c likewise; 0 for classes past the row's end.
fn weighted_four(row: Row, j: u32) -> vec4<f32> {
    let a = spread_four(row, j) * class_weights(j);
    return select(vec4<f32>(0.0), a, vec4<u32>(j) + IN_FOUR < vec4<u32>(class_count()));
}

fn acc_new() -> Acc {
    let smallest = vec4<u32>(0xffffffffu);
    return Acc(
        soft_new(), 0.0, 0.0, vec4<u32>(0u), bitcast<vec4<i32>>(vec4<u32>(0x80000000u)), smallest, 0u, 0.0, NO_CLASS);
}

// exp(x_c - m) of four classes, given h = (x_c - m) / 2; 0 for the class index and for classes past the row's end.
fn others(row: Row, block: Block, h: vec4<f32>, first: u32) -> vec4<f32> {
    var e = exp_twice4(h);
    if (!PROBABILITIES) {
        e = select(e, vec4<f32>(0.0), vec4<u32>(row.label.class_index - first) == IN_FOUR);
    }
    return select(vec4<f32>(0.0), e, valid_lanes(block, first));
}

fn acc_add(before: Acc, row: Row, block: Block) -> Acc {
    var acc = before;
    acc.largest = max(acc.largest, max(max(block.a, block.b), max(block.c, block.d)));
    acc.smallest = min(acc.smallest, min(min(block.a, block.b), min(block.c, block.d)));
    acc.largest_signed = max(acc.largest_signed, max(
        max(bitcast<vec4<i32>>(block.a), bitcast<vec4<i32>>(block.b)),
        max(bitcast<vec4<i32>>(block.c), bitcast<vec4<i32>>(block.d)),
    ));
    let ha = half_x4(block.a);
    let hb = half_x4(block.b);
    let hc = half_x4(block.c);
    let hd = half_x4(block.d);
    let half_m = max(acc.online.half_m, largest4(max(max(ha, hb), max(hc, hd))));
    let drop = acc.online.half_m - half_m;
    let ea = others(row, block, ha - half_m, block.first.x);
    let eb = others(row, block, hb - half_m, block.first.y);
    let ec = others(row, block, hc - half_m, block.first.z);
    let ed = others(row, block, hd - half_m, block.first.w);
    if (WANT_STATS) {
        acc.half_entropy = moved_entropy(acc, half_m)
            + sum4((ea * (half_m - ha) + eb * (half_m - hb)) + (ec * (half_m - hc) + ed * (half_m - hd)));
        if (half_m > acc.online.half_m) {
            acc.best = min(
                min(first_of(ha, half_m, block.first.x), first_of(hb, half_m, block.first.y)),
                min(first_of(hc, half_m, block.first.z), first_of(hd, half_m, block.first.w)),
            );
        }
    }
    acc.online = soft_add(acc.online, half_m, sum4((ea + eb) + (ec + ed)));

    if (SMOOTHING || PROBABILITIES) {
        let wa = weighted_four(row, block.first.x);
        let wb = weighted_four(row, block.first.y);
        let wc = weighted_four(row, block.first.z);
        let wd = weighted_four(row, block.first.w);
        acc.half_rest += -drop * acc.sum_a
            + sum4((wa * (half_m - ha) + wb * (half_m - hb)) + (wc * (half_m - hc) + wd * (half_m - hd)));
        acc.sum_a += sum4((wa + wb) + (wc + wd));
    }
    return acc;
}

// `half_entropy`, moved to a larger maximum.
fn moved_entropy(acc: Acc, half_m: f32) -> f32 {
    let drop = acc.online.half_m - half_m;
    return exp_twice(drop) * (acc.half_entropy - (acc.online.sum - acc.online.lo) * drop);
}

// The first of the classes first .. first + 3 whose x / 2 is `value`; NO_CLASS if none is.
fn first_of(h: vec4<f32>, value: f32, first: u32) -> u32 {
    // A class past the row's end repeats the last one.
    let j = min(vec4<u32>(first) + IN_FOUR, vec4<u32>(u.dispatch.classes - 1u));
    let c = select(vec4<u32>(NO_CLASS), j, h == vec4<f32>(value));
    return min(min(c.x, c.y), min(c.z, c.w));
}

fn acc_join(lane_acc: Acc) -> Acc {
    var acc = lane_acc;
    acc.online = soft_join(lane_acc.online);
    if (WANT_STATS) {
        acc.half_entropy = group_sum(moved_entropy(lane_acc, acc.online.half_m));
        acc.best = group_min_u(select(NO_CLASS, lane_acc.best, lane_acc.online.half_m == acc.online.half_m));
    }
    if (SMOOTHING || PROBABILITIES) {
        acc.half_rest = group_sum(lane_acc.half_rest - (lane_acc.online.half_m - acc.online.half_m) * lane_acc.sum_a);
        acc.sum_a = group_sum(lane_acc.sum_a);
    }
    acc.found = group_or(lane_acc.found | findings(lane_acc));
    return acc;
}

fn findings(acc: Acc) -> u32 {
    let largest = max(max(acc.largest.x, acc.largest.y), max(acc.largest.z, acc.largest.w));
    let smallest = min(min(acc.smallest.x, acc.smallest.y), min(acc.smallest.z, acc.smallest.w));
    let largest_signed =
        max(max(acc.largest_signed.x, acc.largest_signed.y), max(acc.largest_signed.z, acc.largest_signed.w));
    // A capped infinity is finite.
    let found_nan = largest > NEG_INF_BITS || largest_signed > select(0x7f7fffff, 0x7f800000, CAPPED);
    return select(0u, NONFINITE, largest >= NEG_INF_BITS || largest_signed >= 0x7f800000)
        | select(0u, FOUND_NAN, found_nan)
        | select(0u, HAS_FINITE, smallest < NEG_INF_BITS || (CAPPED && smallest == NEG_INF_BITS));
}

// What a -inf logit makes of the loss.
const MAKES_NAN = 8u;       // a -inf logit with q_c != 0 but w_c = 0: the loss alone is NaN
const MAKES_INF = 16u;      // a -inf logit with a_c > 0
const MAKES_NEG_INF = 32u;  // with a_c < 0
const BOTH_INF = 48u;

// Only the class index' logit matters, unless every class has a share of the target.
fn classify(row: Row, found: u32, t_bits: u32) -> u32 {
    if (!SMOOTHING && !PROBABILITIES) {
        return classify_logit(t_bits, params.hard, class_weight(row.label.class_index));
    }
    var notes = 0u;
    let fours = (u.dispatch.classes + 3u) / 4u;
    // An ordinary row leaves this loop at once. A four past the row's end repeats its last class: harmless here.
    for (var k = select(fours, lane, (found & NONFINITE) != 0u); k < fours; k += LANES) {
        let bits = load_four(row.at, k);
        let w = class_weights(4u * k);
        let j = min(vec4<u32>(4u * k) + IN_FOUR, vec4<u32>(u.dispatch.classes - 1u));
        let at_label = select(vec4<f32>(0.0), vec4<f32>(params.hard), j == vec4<u32>(row.label.class_index));
        let share = spread_four(row, 4u * k) + at_label;
        notes |= classify_logit(bits.x, share.x, w.x) | classify_logit(bits.y, share.y, w.y)
            | classify_logit(bits.z, share.z, w.z) | classify_logit(bits.w, share.w, w.w);
    }
    return group_or(notes);
}

// Of a class with the share q_c and the weight w_c.
fn classify_logit(bits: u32, q: f32, w: f32) -> u32 {
    if (bits != NEG_INF_BITS || CAPPED) {
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
    let t_bits = load_logit(row.at, select(row.label.class_index, 0u, PROBABILITIES));
    let found = acc.found | classify(row, select(acc.found, 0u, skips_row(row)), t_bits);
    let half_t = half_x4(vec4<u32>(t_bits)).x;
    let half_max_minus_target = acc.online.half_m - half_t;
    let e_t = select(exp_twice(-half_max_minus_target), 0.0, PROBABILITIES);
    let d = acc.online.sum + e_t;

    if (!PROBABILITIES && half_max_minus_target == 0.0) {
        result.log_d = log1p(acc.online.sum);
    } else {
        result.log_d = ln(d);
    }
    var sum_a = acc.sum_a;
    var half_rest = acc.half_rest;
    // (1 - e) w_t
    var target_weight = 0.0;
    if (!PROBABILITIES) {
        target_weight = params.hard * class_weight(row.label.class_index);
        sum_a += target_weight;
        half_rest += target_weight * half_max_minus_target;
    }
    let lse = 2.0 * acc.online.half_m + result.log_d;
    var half_loss = 0.5 * sum_a * result.log_d + half_rest;
    // d(z lse^2) / d lse
    var dz_dlse = 0.0;
    if (Z_LOSS) {
        half_loss += 0.5 * params.z * lse * lse;
        dz_dlse = 2.0 * params.z * lse;
    }
    result.loss = twice_bits(half_loss);
    let scale = upstream.factor;
    result.scale = scale;
    result.nan_mask = upstream.nan_mask;
    result.half_m = acc.online.half_m;
    result.scale_p = scale * (sum_a + dz_dlse) / d;
    // dloss/dx_t in the order of the header, then 2 z lse p_t.
    result.at_label = -scale * target_weight * (acc.online.sum / d);
    if (SMOOTHING && !PROBABILITIES) {
        result.at_label += scale * (acc.sum_a * (e_t / d) - params.soft * class_weight(row.label.class_index));
    }
    if (Z_LOSS) {
        result.at_label += scale * dz_dlse * (e_t / d);
    }
    if (TEMPERED || CAPPED) {
        result.at_label *= slope4(vec4<u32>(t_bits)).x;
    }

    if (skips_row(row)) {
        result.loss = skipped_loss(row.label);
    } else if ((found & NONFINITE) != 0u) {
        if ((found & HAS_FINITE) == 0u || (found & FOUND_NAN) != 0u) {
            result.loss = NAN_BITS;
            result.nan_mask = NAN_BITS;
        } else if ((found & MAKES_NAN) != 0u || (found & BOTH_INF) == BOTH_INF) {
            result.loss = NAN_BITS;
        } else if ((found & MAKES_INF) != 0u) {
            result.loss = INF_BITS;
        } else if ((found & MAKES_NEG_INF) != 0u) {
            result.loss = NEG_INF_BITS;
        }
    }
    if (WANT_STATS && lane == 0u) {
        let unknown = skips_row(row) || result.nan_mask != 0u;
        let entropy = result.log_d + 2.0 * (acc.half_entropy + e_t * half_max_minus_target) / d;
        let best = select(acc.best, 0u, acc.best == NO_CLASS);
        store_stats(row.index, vec4<u32>(
            select(bitcast<u32>(lse), NAN_BITS, unknown),
            select(bitcast<u32>(entropy), NAN_BITS, unknown),
            select(best, NO_CLASS, unknown),
            select(0u, 1u, !unknown && best == row.label.class_index),
        ));
    }
    return result;
}

fn grad_four(row: Row, result: RowResult, bits: vec4<u32>, j: u32) -> vec4<u32> {
    var g = exp_twice4(half_x4(bits) - result.half_m) * result.scale_p;
    if (SMOOTHING || PROBABILITIES) {
        g -= result.scale * weighted_four(row, j);
    }
    if (TEMPERED || CAPPED) {
        g *= slope4(bits);
    }
    if (!PROBABILITIES) {
        g = select(g, vec4<f32>(result.at_label), vec4<u32>(row.label.class_index - j) == IN_FOUR);
    }
    return bitcast<vec4<u32>>(g);
}

fn grad_target_four(row: Row, result: RowResult, bits: vec4<u32>, j: u32) -> vec4<u32> {
    let factor = result.scale * params.hard * class_weights(j);
    let half_l = (result.half_m - half_x4(bits)) + 0.5 * result.log_d;
    let g = factor * half_l;
    let finite = vec4<u32>(twice_bits(g.x), twice_bits(g.y), twice_bits(g.z), twice_bits(g.w));
    let infinite = select(vec4<u32>(INF_BITS), vec4<u32>(NEG_INF_BITS), factor < vec4<f32>(0.0));
    let masked = select(infinite, vec4<u32>(NAN_BITS), factor == vec4<f32>(0.0));
    return select(finite, masked, (bits == vec4<u32>(NEG_INF_BITS)) & vec4<bool>(!CAPPED));
}
