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
    t_bits: u32,        // the target's score
}

struct Acc {
    key: u32,           // of the largest wrong score, 0 before any
    class_index: u32,   // k
    nan: u32,           // 1 if some score is NaN
}

struct RowResult {
    loss: u32,
    nan_mask: u32,
    slope: f32,         // gradient at k
    rival: u32,         // k
}

// A term is the key of a score: an unsigned integer for each float, in the order of the floats.
fn bits_of_key(key: u32) -> u32 {
    return select(~key, key ^ 0x80000000u, key >= 0x80000000u);
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

fn acc_new() -> Acc {
    return Acc(0u, NO_CLASS, 0u);
}

fn acc_move(acc: Acc) -> Acc {
    return acc;
}

// Its key is 0 where there is no wrong score.
fn term_four(row: Row, acc: Acc, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    return select(x | vec4<u32>(0x80000000u), ~x, x >= vec4<u32>(0x80000000u));
}

fn add_four(before: Acc, row: Row, term: vec4<u32>, x: vec4<u32>, y: vec4<u32>, j: u32, exists: vec4<bool>) -> Acc {
    var acc = before;
    let largest = max(max(term.x, term.y), max(term.z, term.w));
    if (!assume_finite) {
        let magnitude = x & vec4<u32>(ABS_BITS);
        acc.nan |= select(0u, 1u, max(max(magnitude.x, magnitude.y), max(magnitude.z, magnitude.w)) > INF_BITS);
    }
    if (largest >= max(before.key, 1u)) {
        let classes = select(vec4<u32>(NO_CLASS), classes_of(j), term == vec4<u32>(largest));
        let first = min(min(classes.x, classes.y), min(classes.z, classes.w));
        // The first of equals, whatever order they come in.
        acc.class_index = select(first, min(first, before.class_index), largest == before.key);
        acc.key = largest;
    }
    return acc;
}

fn acc_join(acc: Acc) -> Acc {
    let key = group_max_u(acc.key);
    return Acc(key, group_min_u(select(NO_CLASS, acc.class_index, acc.key == key)), group_or(acc.nan));
}

fn row_result(row: Row, acc: Acc, upstream: Scale) -> RowResult {
    let half_t = half_bits(row.t_bits);
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

fn grad_four(row: Row, acc: Acc, result: RowResult, term: vec4<u32>, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    return select(vec4<u32>(0u), vec4<u32>(bitcast<u32>(result.slope)), classes_of(j) == vec4<u32>(result.rival));
}

fn holds_terms() -> bool {
    return true;
}

fn grad_left_out(row: Row, result: RowResult) -> u32 {
    return bitcast<u32>(-result.slope);
}

fn grad_target_four(row: Row, acc: Acc, result: RowResult, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    return vec4<u32>(0u);
}
