// Cross-entropy over rows of logits x, with class weights w and label smoothing e:
//
//   q_c = (1 - e) y_c + e / C        y: one-hot of the class index, or the row of target probabilities
//   a_c = w_c q_c,  A = sum_c a_c
//   loss = sum_c a_c (lse - x_c) = A log d + sum_c a_c (m - x_c)      m = max x, d = sum exp(x_c - m), lse = m + log d
//   dloss/dx_j = A p_j - a_j                                         p_j = exp(x_j - m) / d
//   dloss/dy_j = (1 - e) w_j (lse - x_j)
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
    spare: vec2<u32>,
}

override PROBABILITIES: bool = false;   // target holds probabilities, else class indices
override SMOOTHING: bool = false;

const ACCUMULATES = true;

struct Row {
    at: u32,            // element of class 0
    label: Label,       // class NO_CLASS where the target holds probabilities
}

struct Acc {
    soft: Soft,         // over the classes other than the class index
    a: f32,             // of the spread-out part of a_c (all but the class index' own): its sum ...
    r: f32,             // ... and sum a_c (m - x_c) / 2
    magnitude: vec4<u32>,   // largest |x| as bits: >= INF_BITS tells that the row holds inf or NaN
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
        return Row(at, Label(NO_CLASS, COUNTS));
    }
    return Row(at, read_label(target_data[index]));
}

fn skips_row(row: Row) -> bool {
    return row.label.state != COUNTS;
}

// q_c without the class index' own share.
fn spread(row: Row, c: u32) -> f32 {
    if (PROBABILITIES) {
        return u.params.hard * bitcast<f32>(target_data[row.at + c * u.frame.inner]) + u.params.soft;
    }
    return u.params.soft;
}

// a_c likewise, of four classes; classes past the row's end give 0.
fn spread_quad(row: Row, first: u32) -> vec4<f32> {
    let last = u.frame.classes - 1u;
    let c = min(vec4<u32>(first) + IN_QUAD, vec4<u32>(last));
    let a = vec4<f32>(
        spread(row, c.x) * class_weight(c.x),
        spread(row, c.y) * class_weight(c.y),
        spread(row, c.z) * class_weight(c.z),
        spread(row, c.w) * class_weight(c.w),
    );
    return select(a, vec4<f32>(0.0), vec4<u32>(first) + IN_QUAD > vec4<u32>(last));
}

fn acc_new() -> Acc {
    return Acc(soft_new(), 0.0, 0.0, vec4<u32>(0u));
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
    acc.magnitude = max(acc.magnitude, max(
        max(block.a & vec4<u32>(ABS_BITS), block.b & vec4<u32>(ABS_BITS)),
        max(block.c & vec4<u32>(ABS_BITS), block.d & vec4<u32>(ABS_BITS)),
    ));
    let a = 0.5 * ordinary4(block.a);
    let b = 0.5 * ordinary4(block.b);
    let c = 0.5 * ordinary4(block.c);
    let d = 0.5 * ordinary4(block.d);
    let half_m = max(acc.soft.half_m, largest4(max(max(a, b), max(c, d))));
    let drop = acc.soft.half_m - half_m;
    acc.soft = soft_add(acc.soft, half_m, sum4(
        (others(row, block, a - half_m, block.first.x) + others(row, block, b - half_m, block.first.y))
        + (others(row, block, c - half_m, block.first.z) + others(row, block, d - half_m, block.first.w))));

    if (SMOOTHING || PROBABILITIES) {
        let wa = spread_quad(row, block.first.x);
        let wb = spread_quad(row, block.first.y);
        let wc = spread_quad(row, block.first.z);
        let wd = spread_quad(row, block.first.w);
        acc.r += -drop * acc.a + sum4((wa * (half_m - a) + wb * (half_m - b)) + (wc * (half_m - c) + wd * (half_m - d)));
        acc.a += sum4((wa + wb) + (wc + wd));
    }
    return acc;
}

fn acc_join(lane_acc: Acc) -> Acc {
    var acc = lane_acc;
    acc.soft = soft_join(lane_acc.soft);
    if (SMOOTHING || PROBABILITIES) {
        acc.r = group_sum(lane_acc.r - (lane_acc.soft.half_m - acc.soft.half_m) * lane_acc.a);
        acc.a = group_sum(lane_acc.a);
    }
    let flags = lane_acc.magnitude;
    acc.magnitude = vec4<u32>(group_max_u(max(max(flags.x, flags.y), max(flags.z, flags.w))));
    return acc;
}

// What a row with inf or NaN among its logits comes to.
const HAS_FINITE = 1u;      // some logit is finite
const POISONED = 2u;        // some logit is NaN or +inf: loss and gradient are NaN
const MAKES_NAN = 4u;       // a -inf logit with q_c != 0 but w_c = 0: the loss alone is NaN
const MAKES_INF = 8u;       // a -inf logit with a_c > 0
const MAKES_NEG_INF = 16u;  // with a_c < 0
const BOTH_INF = 24u;

fn classify(row: Row, nonfinite: bool) -> u32 {
    var found = 0u;
    let quads = (u.frame.classes + 3u) / 4u;
    // A loop that an ordinary row leaves at once. A quad past the row's end repeats its last class: harmless here.
    for (var q = select(quads, lane, nonfinite); q < quads; q += LANES) {
        let bits = load_quad(row.at, q);
        let j = min(vec4<u32>(4u * q) + IN_QUAD, vec4<u32>(u.frame.classes - 1u));
        found |= classify_logit(row, j.x, bits.x) | classify_logit(row, j.y, bits.y)
            | classify_logit(row, j.z, bits.z) | classify_logit(row, j.w, bits.w);
    }
    return group_or(found);
}

fn classify_logit(row: Row, j: u32, bits: u32) -> u32 {
    if (is_finite(bits)) {
        return HAS_FINITE;
    }
    if (bits != NEG_INF_BITS) {
        return POISONED;
    }
    var q = spread(row, j);
    if (j == row.label.class_index) {
        q += u.params.hard;
    }
    // Probability 0 on a masked class is ordinary; a weight of 0 times an infinite loss is not.
    if (q == 0.0) {
        return 0u;
    }
    let a = q * class_weight(j);
    if (a == 0.0) {
        return MAKES_NAN;
    }
    return select(MAKES_INF, MAKES_NEG_INF, a < 0.0);
}

fn close_row(row: Row, acc: Acc, upstream: Scale) -> Closed {
    var closed: Closed;
    let found = classify(row, !skips_row(row) && acc.magnitude.x >= INF_BITS);
    let half_t = 0.5 * ordinary(load_logit(row.at, select(row.label.class_index, 0u, PROBABILITIES)));
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
        own = u.params.hard * class_weight(row.label.class_index);
        a += own;
        half_rest += own * lag;
    }
    closed.loss = twice_bits(0.5 * a * closed.log_d + half_rest);
    let scale = upstream.factor;
    closed.scale = scale;
    closed.poison = upstream.poison;
    closed.half_m = acc.soft.half_m;
    closed.scale_p = scale * a / d;
    // own (p_t - 1) + (the rest of A) p_t - (the spread-out part of a_t)
    closed.at_label = -scale * own * (acc.soft.sum / d);
    if (SMOOTHING && !PROBABILITIES) {
        closed.at_label += scale * (acc.a * (e_t / d) - u.params.soft * class_weight(row.label.class_index));
    }

    if (skips_row(row)) {
        closed.loss = skipped_loss(row.label);
    } else if (acc.magnitude.x >= INF_BITS) {
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
    return closed;
}

fn grad_quad(row: Row, closed: Closed, bits: vec4<u32>, j: u32) -> vec4<u32> {
    var g = exp_twice4(0.5 * ordinary4(bits) - closed.half_m) * closed.scale_p;
    if (SMOOTHING || PROBABILITIES) {
        g -= closed.scale * spread_quad(row, j);
    }
    if (!PROBABILITIES) {
        g = select(g, vec4<f32>(closed.at_label), vec4<u32>(row.label.class_index - j) == IN_QUAD);
    }
    return bitcast<vec4<u32>>(g);
}

fn grad_target_value(row: Row, closed: Closed, bits: u32, j: u32) -> u32 {
    let factor = closed.scale * u.params.hard * class_weight(j);
    if (bits == NEG_INF_BITS) {
        if (factor == 0.0) {
            return NAN_BITS;
        }
        return select(INF_BITS, NEG_INF_BITS, factor < 0.0);
    }
    let half_l = (closed.half_m - 0.5 * ordinary(bits)) + 0.5 * closed.log_d;
    return twice_bits(factor * half_l);
}
