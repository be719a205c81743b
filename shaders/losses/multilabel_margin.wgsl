// Multi-label margin loss of rows of scores x with lists of labels; a row's list ends at its first -1. With n_j the number of
// times class j is listed:
//
//   loss = 1 / C sum over i with n_i = 0, j of n_j max(0, z_ij),  z_ij = 1 - x_j + x_i
//   dloss/dx_i = 1 / C sum_j n_j [z_ij > 0]              where n_i = 0
//   dloss/dx_j = -n_j / C sum over i with n_i = 0 of [z_ij > 0]
//
// https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiLabelMarginLoss.html
//
// An entry point of its own, `mark`, first writes n_j of every class into `marks`.

struct Params {
    half_per_class: f32,    // 2 / C, for halved terms
}

@group(0) @binding(9) var<storage, read_write> marks: array<u32>;

// In place of n_0: some label of the row is out of range.
const BAD_LIST = 0xffffffffu;

// One row per invocation.
@compute @workgroup_size(64)
fn mark(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let row = (workgroup.x + workgroup.y * u.frame.grid_x) * 64u + invocation;
    if (row >= u.frame.rows) {
        return;
    }
    let at = row_start(row);
    for (var j = 0u; j < u.frame.classes; j += 4u) {
        let c = min(vec4<u32>(j) + IN_QUAD, vec4<u32>(u.frame.classes - 1u)) * u.frame.inner + at;
        marks[c.x] = 0u;
        marks[c.y] = 0u;
        marks[c.z] = 0u;
        marks[c.w] = 0u;
    }
    // The first label that is no class ends the list; -1 does so properly.
    var last = 0u;
    for (var k = 0u; k < u.frame.classes && last < u.frame.classes; k += 4u) {
        let labels = labels_from(at, k);
        last = mark_label(at, labels.x, last);
        last = mark_label(at, labels.y, last);
        last = mark_label(at, labels.z, last);
        last = mark_label(at, labels.w, last);
    }
    if (last >= u.frame.classes && last != END) {
        marks[at] = BAD_LIST;
    }
}

const END = 0xffffffffu;

// Four labels of the list from place k on; END past the row.
fn labels_from(at: u32, k: u32) -> vec4<u32> {
    return select(target_quad(at, k), vec4<u32>(END), vec4<u32>(k) + IN_QUAD >= vec4<u32>(u.frame.classes));
}

// Counts a label unless the list has ended; what ended it, or the label.
fn mark_label(at: u32, label: u32, last: u32) -> u32 {
    if (last >= u.frame.classes) {
        return last;
    }
    if (label < u.frame.classes) {
        marks[at + label * u.frame.inner] += 1u;
    }
    return label;
}

const ACCUMULATES = true;

struct Row {
    at: u32,
    bad: bool,
}

struct Acc {
    loss: f32,          // halved, before 1 / C
    nan: u32,
    inf: u32,
}

struct Closed {
    loss: u32,
    poison: u32,
    scale: f32,
}

fn open_row(index: u32, at: u32) -> Row {
    return Row(at, marks[at] == BAD_LIST);
}

fn skips_row(row: Row) -> bool {
    return row.bad;
}

fn acc_new() -> Acc {
    return Acc(0.0, 0u, 0u);
}

// Half of max(0, z_ij), as bits.
fn half_excess(x_i: u32, x_j: u32) -> u32 {
    return x_relu(x_add(half_bits(x_i), x_add(0x3f000000u, x_neg(half_bits(x_j)))));
}

fn marks_of_quad(row: Row, j: u32) -> vec4<u32> {
    let c = min(vec4<u32>(j) + IN_QUAD, vec4<u32>(u.frame.classes - 1u)) * u.frame.inner + row.at;
    return vec4<u32>(marks[c.x], marks[c.y], marks[c.z], marks[c.w]);
}

fn add_pair(acc: Acc, counts: bool, x_i: u32, x_j: u32) -> Acc {
    let half_z = half_excess(x_i, x_j);
    return Acc(
        acc.loss + select(0.0, finite_or_zero(half_z), counts),
        acc.nan | select(0u, 1u, counts && is_nan(half_z)),
        acc.inf | select(0u, 1u, counts && half_z == INF_BITS),
    );
}

fn add_label(before: Acc, row: Row, counts: vec4<bool>, bits: vec4<u32>, label: u32) -> Acc {
    if (label >= u.frame.classes) {
        return before;
    }
    let x_j = load_logit(row.at, label);
    let a = add_pair(before, counts.x, bits.x, x_j);
    let b = add_pair(a, counts.y, bits.y, x_j);
    let c = add_pair(b, counts.z, bits.z, x_j);
    return add_pair(c, counts.w, bits.w, x_j);
}

// Four classes i against every listed label. (A row with a bad label is skipped, so a list ends with END alone.)
fn acc_quad(before: Acc, row: Row, bits: vec4<u32>, j: u32) -> Acc {
    let counts = (marks_of_quad(row, j) == vec4<u32>(0u)) & (vec4<u32>(j) + IN_QUAD < vec4<u32>(u.frame.classes));
    var acc = before;
    var open = any(counts);
    for (var k = 0u; k < u.frame.classes && open; k += 4u) {
        let labels = labels_up_to_end(row.at, k);
        acc = add_label(acc, row, counts, bits, labels.x);
        acc = add_label(acc, row, counts, bits, labels.y);
        acc = add_label(acc, row, counts, bits, labels.z);
        acc = add_label(acc, row, counts, bits, labels.w);
        open = labels.w != END;
    }
    return acc;
}

// `labels_from`, with END in every place after the first END.
fn labels_up_to_end(at: u32, k: u32) -> vec4<u32> {
    var labels = labels_from(at, k);
    labels.y = select(labels.y, END, labels.x == END);
    labels.z = select(labels.z, END, labels.y == END);
    labels.w = select(labels.w, END, labels.z == END);
    return labels;
}

fn acc_add(before: Acc, row: Row, block: Block) -> Acc {
    let a = acc_quad(acc_new(), row, block.a, block.first.x);
    let b = acc_quad(acc_new(), row, block.b, block.first.y);
    let c = acc_quad(acc_new(), row, block.c, block.first.z);
    let d = acc_quad(acc_new(), row, block.d, block.first.w);
    return Acc(
        before.loss + ((a.loss + b.loss) + (c.loss + d.loss)),
        before.nan | a.nan | b.nan | c.nan | d.nan,
        before.inf | a.inf | b.inf | c.inf | d.inf,
    );
}

fn acc_join(acc: Acc) -> Acc {
    return Acc(group_sum(acc.loss), group_or(acc.nan), group_or(acc.inf));
}

fn close_row(row: Row, acc: Acc, upstream: Scale) -> Closed {
    var loss = bitcast<u32>(acc.loss * params.half_per_class);
    if (row.bad) {
        loss = BAD_BITS;
    } else if (acc.nan != 0u) {
        loss = NAN_BITS;
    } else if (acc.inf != 0u) {
        loss = INF_BITS;
    }
    return Closed(loss, upstream.poison, upstream.factor * 0.5 * params.half_per_class);
}

// For classes i that are not listed: over the labels, how many exceed.
fn count_labels(row: Row, x_i: vec4<u32>, wanted: bool) -> vec4<f32> {
    var count = vec4<f32>(0.0);
    var open = wanted;
    for (var k = 0u; k < u.frame.classes && open; k += 4u) {
        let labels = labels_up_to_end(row.at, k);
        count += (exceeds_label(row, x_i, labels.x) + exceeds_label(row, x_i, labels.y))
            + (exceeds_label(row, x_i, labels.z) + exceeds_label(row, x_i, labels.w));
        open = labels.w != END;
    }
    return count;
}

fn exceeds_label(row: Row, x_i: vec4<u32>, label: u32) -> vec4<f32> {
    if (label >= u.frame.classes) {
        return vec4<f32>(0.0);
    }
    let x_j = load_logit(row.at, label);
    return vec4<f32>(exceeds(x_i.x, x_j), exceeds(x_i.y, x_j), exceeds(x_i.z, x_j), exceeds(x_i.w, x_j));
}

fn exceeds(x_i: u32, x_j: u32) -> f32 {
    return select(0.0, 1.0, x_positive(half_excess(x_i, x_j)));
}

// For class j that is listed: over the classes that are not, how many exceed.
fn count_others(row: Row, x_j: vec4<u32>, wanted: bool) -> vec4<f32> {
    var count = vec4<f32>(0.0);
    let quads = (u.frame.classes + 3u) / 4u;
    for (var q = select(quads, 0u, wanted); q < quads; q++) {
        let counts =
            (marks_of_quad(row, 4u * q) == vec4<u32>(0u)) & (vec4<u32>(4u * q) + IN_QUAD < vec4<u32>(u.frame.classes));
        let x = load_quad(row.at, q);
        count.x += exceeding(x, x_j.x, counts);
        count.y += exceeding(x, x_j.y, counts);
        count.z += exceeding(x, x_j.z, counts);
        count.w += exceeding(x, x_j.w, counts);
    }
    return count;
}

fn exceeding(x: vec4<u32>, x_j: u32, counts: vec4<bool>) -> f32 {
    let n = select(vec4<f32>(0.0), vec4<f32>(exceeds(x.x, x_j), exceeds(x.y, x_j), exceeds(x.z, x_j), exceeds(x.w, x_j)), counts);
    return (n.x + n.y) + (n.z + n.w);
}

fn grad_quad(row: Row, closed: Closed, bits: vec4<u32>, j: u32) -> vec4<u32> {
    let listed = marks_of_quad(row, j);
    let is_listed = listed > vec4<u32>(0u);
    let as_other = count_labels(row, bits, !all(is_listed));
    let as_label = -vec4<f32>(listed) * count_others(row, bits, any(is_listed));
    return bitcast<vec4<u32>>(closed.scale * select(as_other, as_label, is_listed));
}

fn grad_target_quad(row: Row, closed: Closed, bits: vec4<u32>, j: u32) -> vec4<u32> {
    return vec4<u32>(0u);
}
