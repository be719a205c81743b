// Multi-label margin loss of rows of scores x with lists of labels; a row's list ends at its first -1. With n_j the
// number of times class j is listed:
//
//   loss = 1 / C sum over i with n_i = 0, j of n_j max(0, z_ij),  z_ij = 1 - x_j + x_i
//   dloss/dx_i = 1 / C sum_j n_j [z_ij > 0]              where n_i = 0
//   dloss/dx_j = -n_j / C sum over i with n_i = 0 of [z_ij > 0]
//
// https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiLabelMarginLoss.html
//
// rows/count_labels.wgsl has written n_j of every class into `label_counts`.

struct Params {
    half_per_class: f32,    // 2 / C, for halved terms
}

@group(0) @binding(15) var<storage, read> label_counts: array<u32>;

const ACCUMULATES = true;

struct Row {
    at: u32,
    label: Label,       // OUT_OF_RANGE if one of the list is
}

struct Acc {
    loss: RunSum,
    nan: u32,           // 1 if some z_ij is NaN
    inf: u32,           // 1 if some is +inf
}

struct RowResult {
    loss: u32,
    nan_mask: u32,
    scale: f32,
}

fn open_row(index: u32, at: u32) -> Row {
    let state = select(COUNTS, OUT_OF_RANGE, label_counts[at] == BAD_LIST);
    return Row(at, label_of_row(index, Label(NO_CLASS, state)));
}

fn skips_row(row: Row) -> bool {
    return row.label.state != COUNTS;
}

fn left_out(row: Row) -> u32 {
    return NO_CLASS;
}

fn acc_new() -> Acc {
    return Acc(run_sum_new(), 0u, 0u);
}

fn acc_move(acc: Acc) -> Acc {
    return Acc(run_sum_close(acc.loss), acc.nan, acc.inf);
}

// The terms are pairs of classes: there is none of a class alone.
fn term_four(row: Row, acc: Acc, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    return vec4<u32>(0u);
}

// Half of max(0, z_ij) of four classes i and a label j, as bits: `x_relu` of what `x_add` makes of half of x_i and (1 - x_j) / 2.
fn half_excess4(x_i: vec4<u32>, x_j: u32) -> vec4<u32> {
    let other = x_add(0x3f000000u, x_neg(half_bits(x_j)));
    let finite = vec4<bool>(assume_finite) | ((x_i & vec4<u32>(ABS_BITS)) < vec4<u32>(INF_BITS));
    let both = finite & vec4<bool>(assume_finite | is_finite(other));
    let half_i = 0.5 * bitcast<vec4<f32>>(select(vec4<u32>(0u), x_i, finite));
    let sum = bitcast<vec4<u32>>(half_i + finite_or_zero(other));
    let half_z = select(select(x_i, vec4<u32>(other), finite), sum, both);
    let clash = !finite & !both & vec4<bool>(infinite_or_nan(other)) & (x_i != vec4<u32>(other));
    let nan = !vec4<bool>(assume_finite) & (clash | ((half_z & vec4<u32>(ABS_BITS)) > vec4<u32>(INF_BITS)) | vec4<bool>(is_nan(other)));
    return select(select(vec4<u32>(0u), half_z, is_excess(half_z)), vec4<u32>(NAN_BITS), nan);
}

fn is_excess(half_z: vec4<u32>) -> vec4<bool> {
    return (half_z > vec4<u32>(0u)) & (half_z <= vec4<u32>(INF_BITS));
}

fn label_counts_of(row: Row, classes: vec4<u32>) -> vec4<u32> {
    let c = min(classes, vec4<u32>(u.dispatch.classes - 1u)) * u.dispatch.inner + row.at;
    return vec4<u32>(label_counts[c.x], label_counts[c.y], label_counts[c.z], label_counts[c.w]);
}

// Four classes i against one label j.
fn add_label(before: Acc, row: Row, counts: vec4<bool>, bits: vec4<u32>, label: u32) -> Acc {
    if (label >= u.dispatch.classes) {
        return before;
    }
    let x_j = load_logit(row.at, label);
    let half_z = select(vec4<u32>(0u), half_excess4(bits, x_j), counts);
    let nan = half_z > vec4<u32>(INF_BITS);
    let infinite = half_z == vec4<u32>(INF_BITS);
    let finite = bitcast<vec4<f32>>(select(half_z, vec4<u32>(0u), nan | infinite));
    return Acc(
        // Times 2 / C before they are summed: the mean of finite terms stays finite. Opaque, as compilers take a common factor out of a sum.
        run_sum_add(before.loss, opaque4(finite * params.half_per_class)),
        before.nan | select(0u, 1u, any(nan)),
        before.inf | select(0u, 1u, any(infinite)),
    );
}

// Four classes i against every listed label, a run of at most four labels at a time. (A row with a bad label is skipped, so a list
// ends with END alone.)
fn add_four(before: Acc, row: Row, term: vec4<u32>, x: vec4<u32>, y: vec4<u32>, j: u32, exists: vec4<bool>) -> Acc {
    let counts = (label_counts_of(row, classes_of(j)) == vec4<u32>(0u)) & exists;
    var acc = before;
    var open = any(counts);
    for (var k = 0u; (k < u.dispatch.classes) & open; k += 4u) {
        let labels = labels_up_to_end(row.at, k);
        acc = add_label(acc, row, counts, x, labels.x);
        acc = add_label(acc, row, counts, x, labels.y);
        acc = add_label(acc, row, counts, x, labels.z);
        acc = add_label(acc, row, counts, x, labels.w);
        acc.loss = run_sum_close(acc.loss);
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

fn acc_join(acc: Acc) -> Acc {
    return Acc(run_sum_join(acc.loss), group_or(acc.nan), group_or(acc.inf));
}

fn row_result(row: Row, acc: Acc, upstream: Scale) -> RowResult {
    var loss = bitcast<u32>(run_sum_value(acc.loss));
    if (skips_row(row)) {
        loss = skipped_loss(row.label);
    } else if (acc.nan != 0u) {
        loss = NAN_BITS;
    } else if (acc.inf != 0u) {
        loss = INF_BITS;
    }
    return RowResult(loss, upstream.nan_mask, upstream.factor * 0.5 * params.half_per_class);
}

// For classes i that are not listed: sum_j n_j [z_ij > 0], over the labels j.
fn labels_violated(row: Row, x_i: vec4<u32>, wanted: bool) -> vec4<f32> {
    var count = vec4<f32>(0.0);
    var open = wanted;
    for (var k = 0u; (k < u.dispatch.classes) & open; k += 4u) {
        let labels = labels_up_to_end(row.at, k);
        count += (exceeds_label(row, x_i, labels.x) + exceeds_label(row, x_i, labels.y))
            + (exceeds_label(row, x_i, labels.z) + exceeds_label(row, x_i, labels.w));
        open = labels.w != END;
    }
    return count;
}

fn exceeds_label(row: Row, x_i: vec4<u32>, label: u32) -> vec4<f32> {
    if (label >= u.dispatch.classes) {
        return vec4<f32>(0.0);
    }
    return exceed(x_i, load_logit(row.at, label));
}

fn exceed(x_i: vec4<u32>, x_j: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), vec4<f32>(1.0), is_excess(half_excess4(x_i, x_j)));
}

// For classes j that are listed: over the classes i that are not, how many have z_ij > 0.
fn others_violating(row: Row, x_j: vec4<u32>, wanted: bool) -> vec4<f32> {
    var count = vec4<f32>(0.0);
    let fours = (u.dispatch.classes + 3u) / 4u;
    for (var q = select(fours, 0u, wanted); q < fours; q++) {
        let classes = vec4<u32>(4u * q) + IN_FOUR;
        let counts = (label_counts_of(row, classes) == vec4<u32>(0u)) & (classes < vec4<u32>(u.dispatch.classes));
        let last = u.dispatch.classes - 1u;
        let x = vec4<u32>(
            load_logit(row.at, min(classes.x, last)), load_logit(row.at, min(classes.y, last)),
            load_logit(row.at, min(classes.z, last)), load_logit(row.at, min(classes.w, last)),
        );
        count.x += exceeding(x, x_j.x, counts);
        count.y += exceeding(x, x_j.y, counts);
        count.z += exceeding(x, x_j.z, counts);
        count.w += exceeding(x, x_j.w, counts);
    }
    return count;
}

fn exceeding(x: vec4<u32>, x_j: u32, counts: vec4<bool>) -> f32 {
    return sum4(select(vec4<f32>(0.0), exceed(x, x_j), counts));
}

fn grad_four(row: Row, acc: Acc, result: RowResult, term: vec4<u32>, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    let listed = label_counts_of(row, classes_of(j));
    let is_listed = listed > vec4<u32>(0u);
    let as_other = labels_violated(row, x, !all(is_listed));
    let as_label = -vec4<f32>(listed) * others_violating(row, x, any(is_listed));
    return bitcast<vec4<u32>>(result.scale * select(as_other, as_label, is_listed));
}

fn holds_terms() -> bool {
    return false;
}

fn grad_left_out(row: Row, result: RowResult) -> u32 {
    return 0u;
}

fn grad_target_four(row: Row, acc: Acc, result: RowResult, x: vec4<u32>, y: vec4<u32>, j: u32) -> vec4<u32> {
    return vec4<u32>(0u);
}
