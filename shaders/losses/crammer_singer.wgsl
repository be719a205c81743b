// Crammer-Singer loss of scores x with class index t and margin m; k = the first wrong class with the largest score:
//
//   loss = max(0, m - x_t + x_k)        dloss/dx_k = 1, dloss/dx_t = -1 where that is > 0, else 0
//
// K. Crammer, Y. Singer, On the algorithmic implementation of multiclass kernel-based vector machines, JMLR 2, 2001.
// A single class has no wrong one: loss 0.

struct Params {
    half_margin: f32,
}

const ACCUMULATES = true;

struct Row {
    at: u32,
    label: Label,
}

struct Acc {
    key: u32,           // order_key of the largest wrong score, 0 before any
    class_index: u32,   // k
    nan: u32,           // 1 if some score is NaN
}

struct RowResult {
    loss: u32,
    nan_mask: u32,
    slope: f32,         // gradient at k
    rival: u32,         // k
}

// An unsigned integer for each float, in the order of the floats.
fn order_key(bits: u32) -> u32 {
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn bits_of_key(key: u32) -> u32 {
    return select(~key, key ^ 0x80000000u, key >= 0x80000000u);
}

fn open_row(index: u32, at: u32) -> Row {
    return Row(at, read_label(target_index(index)));
}

fn skips_row(row: Row) -> bool {
    return row.label.state != COUNTS;
}

fn acc_new() -> Acc {
    return Acc(0u, NO_CLASS, 0u);
}

fn add_class(acc: Acc, row: Row, bits: u32, j: u32) -> Acc {
    if (j >= u.dispatch.classes) {
        return acc;
    }
    let nan = acc.nan | select(0u, 1u, is_nan(bits));
    let key = order_key(bits);
    // Classes come in rising order in a lane: > keeps the first of equals.
    if (j == row.label.class_index || key <= acc.key) {
        return Acc(acc.key, acc.class_index, nan);
    }
    return Acc(key, j, nan);
}

fn acc_four(acc: Acc, row: Row, bits: vec4<u32>, j: u32) -> Acc {
    let a = add_class(acc, row, bits.x, j);
    let b = add_class(a, row, bits.y, j + 1u);
    let c = add_class(b, row, bits.z, j + 2u);
    return add_class(c, row, bits.w, j + 3u);
}

fn acc_add(acc: Acc, row: Row, block: Block) -> Acc {
    let a = acc_four(acc, row, block.a, block.first.x);
    let b = acc_four(a, row, block.b, block.first.y);
    let c = acc_four(b, row, block.c, block.first.z);
    return acc_four(c, row, block.d, block.first.w);
}

fn acc_join(acc: Acc) -> Acc {
    let key = group_max_u(acc.key);
    return Acc(key, group_min_u(select(NO_CLASS, acc.class_index, acc.key == key)), group_or(acc.nan));
}

fn row_result(row: Row, acc: Acc, upstream: Scale) -> RowResult {
    let half_t = half_bits(load_logit(row.at, row.label.class_index));
    let half_k = half_bits(bits_of_key(acc.key));
    var half_z = x_relu(x_add(bitcast<u32>(params.half_margin), x_add(half_k, x_neg(half_t))));
    if (acc.class_index == NO_CLASS) {
        half_z = 0u;
    }
    if (acc.nan != 0u) {
        half_z = NAN_BITS;
    }
    let loss = select(twice_bits(bitcast<f32>(half_z)), half_z, !is_finite(half_z));
    return RowResult(
        select(loss, skipped_loss(row.label), skips_row(row)),
        upstream.nan_mask,
        select(0.0, upstream.factor, x_positive(half_z)),
        acc.class_index,
    );
}

fn grad_four(row: Row, result: RowResult, bits: vec4<u32>, j: u32) -> vec4<u32> {
    let at_rival = select(vec4<f32>(0.0), vec4<f32>(result.slope), vec4<u32>(result.rival - j) == IN_FOUR);
    let at_label = vec4<u32>(row.label.class_index - j) == IN_FOUR;
    return bitcast<vec4<u32>>(select(at_rival, vec4<f32>(-result.slope), at_label));
}

fn grad_target_four(row: Row, result: RowResult, bits: vec4<u32>, j: u32) -> vec4<u32> {
    return vec4<u32>(0u);
}
