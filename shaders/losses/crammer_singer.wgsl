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
    key: u32,           // of the largest score: u32 in the order of the floats, 0 before any
    class_index: u32,
    nan: u32,
}

struct Closed {
    loss: u32,
    poison: u32,
    slope: f32,
    rival: u32,
}

// Unsigned integers in the order of the floats.
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
    if (j >= u.frame.classes) {
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

fn acc_quad(acc: Acc, row: Row, bits: vec4<u32>, j: u32) -> Acc {
    let a = add_class(acc, row, bits.x, j);
    let b = add_class(a, row, bits.y, j + 1u);
    let c = add_class(b, row, bits.z, j + 2u);
    return add_class(c, row, bits.w, j + 3u);
}

fn acc_add(acc: Acc, row: Row, block: Block) -> Acc {
    let a = acc_quad(acc, row, block.a, block.first.x);
    let b = acc_quad(a, row, block.b, block.first.y);
    let c = acc_quad(b, row, block.c, block.first.z);
    return acc_quad(c, row, block.d, block.first.w);
}

fn acc_join(acc: Acc) -> Acc {
    let key = group_max_u(acc.key);
    return Acc(key, group_min_u(select(NO_CLASS, acc.class_index, acc.key == key)), group_or(acc.nan));
}

fn close_row(row: Row, acc: Acc, upstream: Scale) -> Closed {
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
    return Closed(
        select(loss, skipped_loss(row.label), skips_row(row)),
        upstream.poison,
        select(0.0, upstream.factor, x_positive(half_z)),
        acc.class_index,
    );
}

fn grad_quad(row: Row, closed: Closed, bits: vec4<u32>, j: u32) -> vec4<u32> {
    let at_rival = select(vec4<f32>(0.0), vec4<f32>(closed.slope), vec4<u32>(closed.rival - j) == IN_QUAD);
    let at_label = vec4<u32>(row.label.class_index - j) == IN_QUAD;
    return bitcast<vec4<u32>>(select(at_rival, vec4<f32>(-closed.slope), at_label));
}

fn grad_target_quad(row: Row, closed: Closed, bits: vec4<u32>, j: u32) -> vec4<u32> {
    return vec4<u32>(0u);
}
