// Multi-class margin loss of scores x with class index t, margin m, power p and class weights w; z_c = m - x_t + x_c:
//
//   loss = w_t / C sum over c != t of max(0, z_c)^p
//   dloss/dx_c = w_t / C p max(0, z_c)^(p - 1) where z_c > 0, else 0; at t minus the sum of those
//
// https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiMarginLoss.html
//
// Scores are halved before they are subtracted: a difference of finite floats may overflow, half of it cannot. With h_c = max(0, z_c) / 2,
// what is summed of each class for p = 2 is h_c / C, which is at most the mean of the h_c; the factors 4 w_t and grad_output come last:
//   dloss/dx_c = 4 w_t (h_c / C)

struct Params {
    half_margin: f32,
    per_class: f32,     // 1 / C
}

override SQUARED: bool = false;     // p = 2

const ACCUMULATES = true;

struct Row {
    at: u32,
    label: Label,
    offset: u32,        // bits of (m - x_t) / 2
    w: f32,             // w_t
    share: f32,         // w_t / C
}

struct Acc {
    loss: RunSum,       // times w_t / C
    slopes: RunSum,     // of the classes c != t, see `slopes_of`
    flags: u32,
}

struct RowResult {
    loss: u32,
    nan_mask: u32,
    scale: f32,         // of `slopes_of`
    at_label: f32,      // gradient at t
}

const FOUND_NAN = 1u;
const FOUND_INF = 2u;

fn open_row(index: u32, at: u32) -> Row {
    let label = label_of_row(index, read_label(target_index(index)));
    let offset = x_add(bitcast<u32>(params.half_margin), x_neg(half_bits(load_logit(at, label.class_index))));
    let w = class_weight(label.class_index);
    return Row(at, label, offset, w, w * params.per_class);
}

fn skips_row(row: Row) -> bool {
    return row.label.state != COUNTS;
}

fn left_out(row: Row) -> u32 {
    return row.label.class_index;
}

fn acc_new() -> Acc {
    return Acc(run_sum_new(), run_sum_new(), 0u);
}

fn acc_move(acc: Acc) -> Acc {
    return Acc(run_sum_close(acc.loss), run_sum_close(acc.slopes), acc.flags);
}

// Bits of half of max(0, z_c).
fn term_four(row: Row, acc: Acc, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    if (assume_finite) {
        return bitcast<vec4<u32>>(max(bitcast<f32>(row.offset) + 0.5 * bitcast<vec4<f32>>(x), vec4<f32>(0.0)));
    }
    return vec4<u32>(half_excess(row, x.x), half_excess(row, x.y), half_excess(row, x.z), half_excess(row, x.w));
}

fn half_excess(row: Row, bits: u32) -> u32 {
    return x_relu(x_add(row.offset, half_bits(bits)));
}

// Four classes' gradients before their common factor, given the bits of h_c: h_c / C for p = 2, else 1 where z_c > 0. Of an infinite z
// too; 0 of NaN.
fn slopes_of(half_z: vec4<u32>) -> vec4<f32> {
    let h = bitcast<vec4<f32>>(half_z);
    if (SQUARED & assume_finite) {
        return h * params.per_class;
    }
    var d = vec4<f32>(1.0);
    if (SQUARED) {
        d = h * params.per_class;
    }
    if (assume_finite) {
        return select(vec4<f32>(0.0), d, h > vec4<f32>(0.0));
    }
    return select(vec4<f32>(0.0), d, (half_z > vec4<u32>(0u)) & (half_z <= vec4<u32>(INF_BITS)));
}

fn finite_four(bits: vec4<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(select(vec4<u32>(0u), bits, vec4<bool>(assume_finite) | (bits < vec4<u32>(INF_BITS))));
}

fn add_four(before: Acc, row: Row, term: vec4<u32>, x: vec4<u32>, y: vec4<u32>, j: u32, exists: vec4<bool>) -> Acc {
    var acc = before;
    if (!assume_finite) {
        let largest = max(max(term.x, term.y), max(term.z, term.w));
        acc.flags |= select(0u, FOUND_NAN, largest > INF_BITS) | select(0u, FOUND_INF, any(term == vec4<u32>(INF_BITS)));
    }
    let h = finite_four(term);
    // Multiplied with w_t / C before it is summed: the mean of finite terms stays finite. Opaque, as compilers take a common factor out
    // of a sum.
    if (SQUARED) {
        acc.loss = run_sum_add(before.loss, opaque4(4.0 * (h * (h * row.share))));
    } else {
        acc.loss = run_sum_add(before.loss, opaque4(h * (2.0 * row.share)));
    }
    acc.slopes = run_sum_add(before.slopes, opaque4(slopes_of(term)));
    return acc;
}

fn acc_join(acc: Acc) -> Acc {
    return Acc(run_sum_join(acc.loss), run_sum_join(acc.slopes), group_or(acc.flags));
}

fn row_result(row: Row, acc: Acc, upstream: Scale) -> RowResult {
    var loss = bitcast<u32>(run_sum_value(acc.loss));
    if (skips_row(row)) {
        loss = skipped_loss(row.label);
    } else if ((acc.flags & FOUND_NAN) != 0u) {
        loss = NAN_BITS;
    } else if (acc.flags != 0u) {
        loss = x_mul(INF_BITS, bitcast<u32>(row.share));
    }
    let scale = upstream.factor * select(row.share, row.w, SQUARED);
    return RowResult(loss, upstream.nan_mask, scale, -gradients(scale, vec4<f32>(run_sum_value(acc.slopes))).x);
}

// The last factor comes last: opaque, as compilers would multiply the slopes with it first.
fn gradients(scale: f32, slopes: vec4<f32>) -> vec4<f32> {
    if (SQUARED) {
        return 4.0 * opaque4(scale * slopes);
    }
    return scale * slopes;
}

fn grad_four(row: Row, acc: Acc, result: RowResult, term: vec4<u32>, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    return bitcast<vec4<u32>>(gradients(result.scale, slopes_of(term)));
}

fn holds_terms() -> bool {
    return true;
}

fn grad_left_out(row: Row, result: RowResult) -> u32 {
    return bitcast<u32>(result.at_label);
}

fn grad_target_four(row: Row, acc: Acc, result: RowResult, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    return vec4<u32>(0u);
}
