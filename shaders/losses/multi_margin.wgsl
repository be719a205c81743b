// Multi-class margin loss of scores x with class index t, margin m, power p and class weights w; z_c = m - x_t + x_c:
//
//   loss = w_t / C sum over c != t of max(0, z_c)^p
//   dloss/dx_c = w_t / C p max(0, z_c)^(p - 1) where z_c > 0, else 0; at t minus the sum of those
//
// https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiMarginLoss.html
//
// Scores are halved before they are subtracted: a difference of finite floats may overflow, half of it cannot.

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
    share: f32,         // w_t / C
}

struct Acc {
    loss: f32,          // times w_t / C
    slopes: f32,        // sum over c != t of d max(0, z_c)^p / dz_c
    flags: u32,
}

struct RowResult {
    loss: u32,
    nan_mask: u32,
    scale: f32,         // w_t / C, times what comes from above
    at_label: f32,      // gradient at t
}

const FOUND_NAN = 1u;
const FOUND_INF = 2u;

fn open_row(index: u32, at: u32) -> Row {
    let label = read_label(target_index(index));
    let offset = x_add(bitcast<u32>(params.half_margin), x_neg(half_bits(load_logit(at, label.class_index))));
    return Row(at, label, offset, class_weight(label.class_index) * params.per_class);
}

fn skips_row(row: Row) -> bool {
    return row.label.state != COUNTS;
}

fn acc_new() -> Acc {
    return Acc(0.0, 0.0, 0u);
}

// Half of max(0, z_c), as bits.
fn half_excess(row: Row, bits: u32) -> u32 {
    return x_relu(x_add(row.offset, half_bits(bits)));
}

// d max(0, z)^p / dz of z given halved: 2 z = 4 (z / 2) for p = 2.
fn slope(half_z: u32) -> f32 {
    var d = 1.0;
    if (SQUARED) {
        d = 4.0 * bitcast<f32>(half_z);
    }
    return select(0.0, d, x_positive(half_z));
}

fn add_class(before: Acc, row: Row, bits: u32, j: u32) -> Acc {
    if (j == row.label.class_index || j >= u.dispatch.classes) {
        return before;
    }
    var acc = before;
    let half_z = half_excess(row, bits);
    acc.flags |= select(0u, FOUND_NAN, is_nan(half_z)) | select(0u, FOUND_INF, half_z == INF_BITS);
    let h = finite_or_zero(half_z);
    // Multiplied with w_t / C before it is summed: the mean of finite terms stays finite.
    if (SQUARED) {
        acc.loss += (2.0 * h) * (2.0 * h * row.share);
    } else {
        acc.loss += h * (2.0 * row.share);
    }
    acc.slopes += slope(half_z);
    return acc;
}

fn acc_four(acc: Acc, row: Row, bits: vec4<u32>, j: u32) -> Acc {
    let a = add_class(acc, row, bits.x, j);
    let b = add_class(a, row, bits.y, j + 1u);
    let c = add_class(b, row, bits.z, j + 2u);
    return add_class(c, row, bits.w, j + 3u);
}

fn acc_add(acc: Acc, row: Row, block: Block) -> Acc {
    let a = acc_four(acc_new(), row, block.a, block.first.x);
    let b = acc_four(a, row, block.b, block.first.y);
    let c = acc_four(b, row, block.c, block.first.z);
    let d = acc_four(c, row, block.d, block.first.w);
    return Acc(acc.loss + d.loss, acc.slopes + d.slopes, acc.flags | d.flags);
}

fn acc_join(acc: Acc) -> Acc {
    return Acc(group_sum(acc.loss), group_sum(acc.slopes), group_or(acc.flags));
}

fn row_result(row: Row, acc: Acc, upstream: Scale) -> RowResult {
    var loss = bitcast<u32>(acc.loss);
    if (skips_row(row)) {
        loss = skipped_loss(row.label);
    } else if ((acc.flags & FOUND_NAN) != 0u) {
        loss = NAN_BITS;
    } else if (acc.flags != 0u) {
        loss = x_mul(INF_BITS, bitcast<u32>(row.share));
    }
    let scale = upstream.factor * row.share;
    return RowResult(loss, upstream.nan_mask, scale, -scale * acc.slopes);
}

fn grad_four(row: Row, result: RowResult, bits: vec4<u32>, j: u32) -> vec4<u32> {
    let slopes = vec4<f32>(
        slope(half_excess(row, bits.x)),
        slope(half_excess(row, bits.y)),
        slope(half_excess(row, bits.z)),
        slope(half_excess(row, bits.w)),
    );
    let is_label = vec4<u32>(row.label.class_index - j) == IN_FOUR;
    return bitcast<vec4<u32>>(select(result.scale * slopes, vec4<f32>(result.at_label), is_label));
}

fn grad_target_four(row: Row, result: RowResult, bits: vec4<u32>, j: u32) -> vec4<u32> {
    return vec4<u32>(0u);
}
