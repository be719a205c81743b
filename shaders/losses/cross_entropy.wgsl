// Cross-entropy over rows of logits x, with class weights w and label smoothing e:
//
//   q_c = (1 - e) y_c + e / C        y: one-hot of the class index, or the row of target probabilities
//   a_c = w_c q_c,  A = sum_c a_c
//   loss = sum_c a_c (lse - x_c) = A log d + sum_c a_c (m - x_c)      m = max x, d = sum exp(x_c - m), lse = m + log d
//   dloss/dx_j = A p_j - a_j                                         p_j = exp(x_j - m) / d
//   dloss/dy_j = (1 - e) w_j (lse - x_j)
//
// Options beyond PyTorch's: x is s tanh(v / s) / T of the logit v (softcap s, temperature T), and z lse^2 is added (z-loss).
//
// https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html
//
// Confident rows: with a class index t, s = sum over c != t of exp(x_c - m) is kept apart from exp(x_t - m). Where x_t = m the
// log is log1p(s), and p_t - 1 = -s / d: neither loses digits when s is tiny.
//
// Differences are taken halved, h = x/2 - m/2, because x - m may overflow: see exp_twice4.

struct Params {
    hard: f32,          // 1 - e
    soft: f32,          // e / C
    z: f32,
    half_inverse_t: f32,    // 1 / (2 T)
    cap: f32,           // s
    inverse_cap: f32,
}

override PROBABILITIES: bool = false;   // target holds probabilities, else class indices
override SMOOTHING: bool = false;
override TEMPERED: bool = false;        // T is not 1
override CAPPED: bool = false;
override Z_LOSS: bool = false;

const ACCUMULATES = true;

const NONFINITE = 1u;       // some logit is NaN or infinite
const POISONED = 2u;        // some logit is NaN or +inf (if not capped): loss and gradient are NaN
const HAS_FINITE = 4u;      // some logit is not -inf, or it is capped

struct Row {
    index: u32,
    at: u32,            // element of class 0
    label: Label,       // class NO_CLASS where the target holds probabilities
}

struct Acc {
    soft: Soft,         // over the classes other than the class index
    a: f32,             // of the spread-out part of a_c (all but the class index' own): its sum ...
    r: f32,             // ... and sum a_c (m - x_c) / 2
    // What tells of NaN and infinities among the bits of the logits: the largest as unsigned and as signed integers (of negative
    // numbers, then of positive ones), and the smallest as unsigned ones.
    top: vec4<u32>,
    peak: vec4<i32>,
    low: vec4<u32>,
    found: u32,         // what the three say together: FINITE_ROW ...
    spread: f32,        // for the entropy: sum exp(x_c - m) (m - x_c) / 2 over the other classes
    best: u32,          // the first class with the largest logit
}

struct Closed {
    loss: u32,
    poison: u32,
    half_m: f32,
    log_d: f32,
    scale: f32,
    scale_p: f32,       // what exp(x_j - m) is multiplied with
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

// Half of x, what the softmax sees of four logits.
fn half_x4(bits: vec4<u32>) -> vec4<f32> {
    if (CAPPED) {
        let v = clamp(ordinary4(bits) * params.inverse_cap, vec4<f32>(-50.0), vec4<f32>(50.0));
        return params.half_inverse_t * params.cap * tanh4(v);
    }
    if (TEMPERED) {
        let limit = 0x1.fffffep+126f;
        return clamp(ordinary4(bits) * params.half_inverse_t, vec4<f32>(-limit), vec4<f32>(limit));
    }
    return 0.5 * ordinary4(bits);
}

// dx/dv of four logits.
fn slope4(bits: vec4<u32>) -> vec4<f32> {
    let outer = vec4<f32>(2.0 * params.half_inverse_t);
    if (CAPPED) {
        let v = clamp(ordinary4(bits) * params.inverse_cap, vec4<f32>(-50.0), vec4<f32>(50.0));
        let e = exp_twice4(-abs(v));
        return outer * (4.0 * e / ((1.0 + e) * (1.0 + e)));
    }
    return outer;
}

// q_c without the class index' own share, of four classes.
fn spread_quad(row: Row, j: u32) -> vec4<f32> {
    if (PROBABILITIES) {
        return params.hard * bitcast<vec4<f32>>(target_quad(row.at, j)) + params.soft;
    }
    return vec4<f32>(params.soft);
}

// a_c likewise; classes past the row's end give 0.
fn weighed_quad(row: Row, j: u32) -> vec4<f32> {
    let a = spread_quad(row, j) * class_weights(j);
    return select(vec4<f32>(0.0), a, vec4<u32>(j) + IN_QUAD < vec4<u32>(class_count()));
}

fn acc_new() -> Acc {
    let low = vec4<u32>(0xffffffffu);
    return Acc(soft_new(), 0.0, 0.0, vec4<u32>(0u), bitcast<vec4<i32>>(vec4<u32>(0x80000000u)), low, 0u, 0.0, NO_CLASS);
}

// exp(x - m) of one quad, 0 for the target's class and for classes past the row's end.
fn others(row: Row, block: Block, h: vec4<f32>, first: u32) -> vec4<f32> {
    var e = exp_twice4(h);
    if (!PROBABILITIES) {
        e = select(e, vec4<f32>(0.0), vec4<u32>(row.label.class_index - first) == IN_QUAD);
    }
    return select(vec4<f32>(0.0), e, valid_lanes(block, first));
}

fn acc_add(before: Acc, row: Row, block: Block) -> Acc {
    var acc = before;
    acc.top = max(acc.top, max(max(block.a, block.b), max(block.c, block.d)));
    acc.low = min(acc.low, min(min(block.a, block.b), min(block.c, block.d)));
    acc.peak = max(acc.peak, max(
        max(bitcast<vec4<i32>>(block.a), bitcast<vec4<i32>>(block.b)),
        max(bitcast<vec4<i32>>(block.c), bitcast<vec4<i32>>(block.d)),
    ));
    let a = half_x4(block.a);
    let b = half_x4(block.b);
    let c = half_x4(block.c);
    let d = half_x4(block.d);
    let half_m = max(acc.soft.half_m, largest4(max(max(a, b), max(c, d))));
    let drop = acc.soft.half_m - half_m;
    let ea = others(row, block, a - half_m, block.first.x);
    let eb = others(row, block, b - half_m, block.first.y);
    let ec = others(row, block, c - half_m, block.first.z);
    let ed = others(row, block, d - half_m, block.first.w);
    if (WANT_STATS) {
        acc.spread = moved_spread(acc, half_m)
            + sum4((ea * (half_m - a) + eb * (half_m - b)) + (ec * (half_m - c) + ed * (half_m - d)));
        if (half_m > acc.soft.half_m) {
            acc.best = min(
                min(first_of(a, half_m, block.first.x), first_of(b, half_m, block.first.y)),
                min(first_of(c, half_m, block.first.z), first_of(d, half_m, block.first.w)),
            );
        }
    }
    acc.soft = soft_add(acc.soft, half_m, sum4((ea + eb) + (ec + ed)));

    if (SMOOTHING || PROBABILITIES) {
        let wa = weighed_quad(row, block.first.x);
        let wb = weighed_quad(row, block.first.y);
        let wc = weighed_quad(row, block.first.z);
        let wd = weighed_quad(row, block.first.w);
        acc.r += -drop * acc.a + sum4((wa * (half_m - a) + wb * (half_m - b)) + (wc * (half_m - c) + wd * (half_m - d)));
        acc.a += sum4((wa + wb) + (wc + wd));
    }
    return acc;
}

// `spread`, relative to a larger maximum.
fn moved_spread(acc: Acc, half_m: f32) -> f32 {
    let drop = acc.soft.half_m - half_m;
    return exp_twice(drop) * (acc.spread - (acc.soft.sum - acc.soft.low) * drop);
}

// The first of four classes whose halved x is `value`; NO_CLASS if none.
fn first_of(h: vec4<f32>, value: f32, first: u32) -> u32 {
    // A class past the row's end repeats the last one.
    let j = min(vec4<u32>(first) + IN_QUAD, vec4<u32>(u.frame.classes - 1u));
    let c = select(vec4<u32>(NO_CLASS), j, h == vec4<f32>(value));
    return min(min(c.x, c.y), min(c.z, c.w));
}

fn acc_join(lane_acc: Acc) -> Acc {
    var acc = lane_acc;
    acc.soft = soft_join(lane_acc.soft);
    if (WANT_STATS) {
        acc.spread = group_sum(moved_spread(lane_acc, acc.soft.half_m));
        acc.best = group_min_u(select(NO_CLASS, lane_acc.best, lane_acc.soft.half_m == acc.soft.half_m));
    }
    if (SMOOTHING || PROBABILITIES) {
        acc.r = group_sum(lane_acc.r - (lane_acc.soft.half_m - acc.soft.half_m) * lane_acc.a);
        acc.a = group_sum(lane_acc.a);
    }
    acc.found = group_or(lane_acc.found | findings(lane_acc));
    return acc;
}

fn findings(acc: Acc) -> u32 {
    let top = max(max(acc.top.x, acc.top.y), max(acc.top.z, acc.top.w));
    let low = min(min(acc.low.x, acc.low.y), min(acc.low.z, acc.low.w));
    let peak = max(max(acc.peak.x, acc.peak.y), max(acc.peak.z, acc.peak.w));
    // A capped infinity is finite.
    let poisoned = top > NEG_INF_BITS || peak > select(0x7f7fffff, 0x7f800000, CAPPED);
    return select(0u, NONFINITE, top >= NEG_INF_BITS || peak >= 0x7f800000)
        | select(0u, POISONED, poisoned)
        | select(0u, HAS_FINITE, low < NEG_INF_BITS || (CAPPED && low == NEG_INF_BITS));
}

// What a row with -inf among its logits comes to.
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
    let quads = (u.frame.classes + 3u) / 4u;
    // A loop that an ordinary row leaves at once. A quad past the row's end repeats its last class: harmless here.
    for (var q = select(quads, lane, (found & NONFINITE) != 0u); q < quads; q += LANES) {
        let bits = load_quad(row.at, q);
        let w = class_weights(4u * q);
        let j = min(vec4<u32>(4u * q) + IN_QUAD, vec4<u32>(u.frame.classes - 1u));
        let own = select(vec4<f32>(0.0), vec4<f32>(params.hard), j == vec4<u32>(row.label.class_index));
        let share = spread_quad(row, 4u * q) + own;
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

fn close_row(row: Row, acc: Acc, upstream: Scale) -> Closed {
    var closed: Closed;
    let t_bits = load_logit(row.at, select(row.label.class_index, 0u, PROBABILITIES));
    let found = acc.found | classify(row, select(acc.found, 0u, skips_row(row)), t_bits);
    let half_t = half_x4(vec4<u32>(t_bits)).x;
    let lag = acc.soft.half_m - half_t;
    let e_t = select(exp_twice(-lag), 0.0, PROBABILITIES);
    let d = acc.soft.sum + e_t;

    if (!PROBABILITIES && lag == 0.0) {
        closed.log_d = log1p(acc.soft.sum);
    } else {
        closed.log_d = ln(d);
    }
    var a = acc.a;
    var half_rest = acc.r;
    var own = 0.0;
    if (!PROBABILITIES) {
        own = params.hard * class_weight(row.label.class_index);
        a += own;
        half_rest += own * lag;
    }
    let lse = 2.0 * acc.soft.half_m + closed.log_d;
    var half_loss = 0.5 * a * closed.log_d + half_rest;
    // d(z lse^2) / d lse
    var pull = 0.0;
    if (Z_LOSS) {
        half_loss += 0.5 * params.z * lse * lse;
        pull = 2.0 * params.z * lse;
    }
    closed.loss = twice_bits(half_loss);
    let scale = upstream.factor;
    closed.scale = scale;
    closed.poison = upstream.poison;
    closed.half_m = acc.soft.half_m;
    closed.scale_p = scale * (a + pull) / d;
    // own (p_t - 1) + (the rest of A) p_t - (the spread-out part of a_t)
    closed.at_label = -scale * own * (acc.soft.sum / d);
    if (SMOOTHING && !PROBABILITIES) {
        closed.at_label += scale * (acc.a * (e_t / d) - params.soft * class_weight(row.label.class_index));
    }
    if (Z_LOSS) {
        closed.at_label += scale * pull * (e_t / d);
    }
    if (TEMPERED || CAPPED) {
        closed.at_label *= slope4(vec4<u32>(t_bits)).x;
    }

    if (skips_row(row)) {
        closed.loss = skipped_loss(row.label);
    } else if ((found & NONFINITE) != 0u) {
        if ((found & HAS_FINITE) == 0u || (found & POISONED) != 0u) {
            closed.loss = NAN_BITS;
            closed.poison = NAN_BITS;
        } else if ((found & MAKES_NAN) != 0u || (found & BOTH_INF) == BOTH_INF) {
            closed.loss = NAN_BITS;
        } else if ((found & MAKES_INF) != 0u) {
            closed.loss = INF_BITS;
        } else if ((found & MAKES_NEG_INF) != 0u) {
            closed.loss = NEG_INF_BITS;
        }
    }
    if (WANT_STATS && lane == 0u) {
        let unknown = skips_row(row) || closed.poison != 0u;
        let entropy = closed.log_d + 2.0 * (acc.spread + e_t * lag) / d;
        let best = select(acc.best, 0u, acc.best == NO_CLASS);
        store_stats(row.index, vec4<u32>(
            select(bitcast<u32>(lse), NAN_BITS, unknown),
            select(bitcast<u32>(entropy), NAN_BITS, unknown),
            select(best, NO_CLASS, unknown),
            select(0u, 1u, !unknown && best == row.label.class_index),
        ));
    }
    return closed;
}

fn grad_quad(row: Row, closed: Closed, bits: vec4<u32>, j: u32) -> vec4<u32> {
    var g = exp_twice4(half_x4(bits) - closed.half_m) * closed.scale_p;
    if (SMOOTHING || PROBABILITIES) {
        g -= closed.scale * weighed_quad(row, j);
    }
    if (TEMPERED || CAPPED) {
        g *= slope4(bits);
    }
    if (!PROBABILITIES) {
        g = select(g, vec4<f32>(closed.at_label), vec4<u32>(row.label.class_index - j) == IN_QUAD);
    }
    return bitcast<vec4<u32>>(g);
}

fn grad_target_quad(row: Row, closed: Closed, bits: vec4<u32>, j: u32) -> vec4<u32> {
    let factor = closed.scale * params.hard * class_weights(j);
    let half_l = (closed.half_m - half_x4(bits)) + 0.5 * closed.log_d;
    let g = factor * half_l;
    let finite = vec4<u32>(twice_bits(g.x), twice_bits(g.y), twice_bits(g.z), twice_bits(g.w));
    let infinite = select(vec4<u32>(INF_BITS), vec4<u32>(NEG_INF_BITS), factor < vec4<f32>(0.0));
    let masked = select(infinite, vec4<u32>(NAN_BITS), factor == vec4<f32>(0.0));
    return select(finite, masked, (bits == vec4<u32>(NEG_INF_BITS)) & vec4<bool>(!CAPPED));
}
