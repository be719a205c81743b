// Losses over rows of classes, forward and gradient in one kernel: what the drivers (rows/driver/) have in common.
//
//   input         (N, C, D)  logits: rows/lanes/, io/read/
//   target_data   (N, D) class indices, or (N, C, D) values: rows/target/
//   weight        (C): rows/class_weight/
//   sample_weight (N, D): rows/sample_weight/
//   ignore_mask   (N, D): rows/row_mask/
//   grad_output   () or (N, D): rows/grad_output/
//   losses        (N, D)  the loss of each row; BAD_BITS where the target is out of range
//   grad_input, grad_target   (N, C, D): io/write/, rows/grad_target/
//   row_stats     (N, D): rows/stats/
//   work, loss    what is summed over the rows: rows/batch/
//
// A tensor that a call does not have is not bound: the file `none` of its folder is linked.
//
// The lanes of a group share a row. Four classes at a time are a "four": `x` the bits of their logits, `y` those of the target's values
// (0 where the target is a class index), `j` the first of them, the others at rows/lanes/'s distances. Classes past the row's end
// repeat others of the row. The loss file supplies, in the order of the calls:
//   struct Params                                its options
//   const ACCUMULATES: bool                      false: the loss needs no sum over the classes
//   struct Row; fn open_row(index, at) -> Row    what is read once per row
//   fn skips_row(row) -> bool                    ignored or invalid: the classes are not looked at, the gradient is 0
//   fn left_out(row) -> u32                      the class that has no term and a gradient of its own; NO_CLASS if there is none
//   struct Acc; fn acc_new() -> Acc              the sums of one lane
//   fn raise_peak(acc, top_x, top_y) -> Acc      the largest logit, and value of the target, before they are summed
//   fn peak_join(acc) -> Acc                     the largest over the lanes; both else in rows/peak/none.wgsl
//   fn acc_move(acc) -> Acc                      ends a run of terms, and makes the sums relative to the new maximum
//   fn term_four(row, acc, x, y, j) -> vec4<u32> a term of each class; before it is added, 0 takes its place where there is none
//   fn add_four(acc, row, term, x, y, j, exists) -> Acc   adds them; `exists` tells of which classes there are
//   fn acc_join(acc) -> Acc                      over the lanes; joined sums are joined again for split rows, so Acc holds no bool
//   fn has_second_pass, struct SecondPass, fn second_pass_new, second_pass_add, second_pass_close, second_pass_join, second_pass_of
//                                                sums that need the results of the first pass; else rows/second_pass/none.wgsl
//   struct RowResult; fn row_result(row, acc, scale) -> RowResult
//                                                .loss: bits of the row's loss; .nan_mask: NAN_BITS if its gradient is NaN, else 0
//   fn holds_terms() -> bool                     the gradient needs the terms and not the logits: `x` may be anything then
//   fn grad_four(row, acc, result, term, x, y, j) -> vec4<u32>   bits of the gradient
//   fn grad_left_out(row, result) -> u32                         of the class that is left out
//   fn grad_target_four(row, acc, result, x, y, j) -> vec4<u32>  likewise, where the target has a gradient
//
// `assume_finite` (lib/ieee.wgsl) is set where every logit of the row, and every value of its target, is known to be ordinary: at most
// 2^20. Then plain arithmetic
// serves. It may differ between the calls of one row, but not between a term and its sum or its gradient.

struct Uniforms {
    dispatch: DispatchParams,
    params: Params,
}

@group(0) @binding(8) var<storage, read_write> losses: array<u32>;

// A copy of the uniform's, see `zero`.
var<private> params: Params;
// Set by invocations that have a row: in a small batch, counting takes time.
// Bits: 0 where nothing counts in the batch, NaN where there is no mean.
var<private> denominator: u32;
// Whether this invocation stores what there is one of per row.
var<private> stores_row: bool;

// The number of the invocation's group.
fn enter_rows(workgroup: vec3<u32>, invocation: u32) -> u32 {
    params = u.params;
    return enter_group(workgroup.x + workgroup.y * u.dispatch.grid_x, invocation);
}

// A row's label, IGNORED where the row counts for nothing whatever it holds. Rows of values have the class NO_CLASS.
fn label_of_row(index: u32, label: Label) -> Label {
    return Label(label.class_index, select(label.state, IGNORED, is_excluded(index)));
}

// The classes of the four that begins with class j.
fn classes_of(j: u32) -> vec4<u32> {
    return vec4<u32>(j) + in_four();
}

// Which of them exist. (A class before the row's first one has a huge number.)
fn exist_of(j: u32) -> vec4<bool> {
    return classes_of(j) < vec4<u32>(class_count());
}

// Three extremes of the bits of a row's logits, or of its target's values, tell its largest number and whether NaN or infinities are
// there. As unsigned integers, -inf and negative NaN are the largest floats, and the smallest is the one next to 0 if all are negative. As
// signed integers, +inf and positive NaN are the largest.
struct Extremes {
    negative: vec4<u32>,
    positive: vec4<i32>,
    smallest: vec4<u32>,
}

var<private> extremes: Extremes;
var<private> target_extremes: Extremes;

fn no_extremes() -> Extremes {
    return Extremes(vec4<u32>(0u), bitcast<vec4<i32>>(vec4<u32>(0x80000000u)), vec4<u32>(0xffffffffu));
}

fn extremes_new() {
    extremes = no_extremes();
    target_extremes = no_extremes();
}

fn with_pair(e: Extremes, bits: Eight) -> Extremes {
    return Extremes(
        max(max(e.negative, bits.a), bits.b),
        max(max(e.positive, bitcast<vec4<i32>>(bits.a)), bitcast<vec4<i32>>(bits.b)),
        min(min(e.smallest, bits.a), bits.b),
    );
}

fn extremes_add(x: Eight, y: Eight) {
    extremes = with_pair(extremes, x);
    if (HAS_TARGET_ROW) {
        target_extremes = with_pair(target_extremes, y);
    }
}

fn largest_of(v: vec4<u32>) -> u32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

fn most_negative(e: Extremes) -> u32 {
    return largest_of(e.negative);
}

fn most_positive(e: Extremes) -> i32 {
    return max(max(e.positive.x, e.positive.y), max(e.positive.z, e.positive.w));
}

fn smallest_bits(e: Extremes) -> u32 {
    return min(min(e.smallest.x, e.smallest.y), min(e.smallest.z, e.smallest.w));
}

// Over the lanes of the group. The three reductions do not wait for each other.
fn extremes_over_lanes(e: Extremes) -> Extremes {
    // The order of signed integers, in unsigned ones.
    let positive = group_max_u(bitcast<u32>(most_positive(e)) ^ 0x80000000u) ^ 0x80000000u;
    let smallest = group_min_u(smallest_bits(e));
    return Extremes(vec4<u32>(group_max_u(most_negative(e))), vec4<i32>(bitcast<i32>(positive)), vec4<u32>(smallest));
}

fn join_extremes() {
    extremes = extremes_over_lanes(extremes);
    if (HAS_TARGET_ROW) {
        target_extremes = extremes_over_lanes(target_extremes);
    }
}

// Bits of the largest number, if there is no NaN; NaN if there is nothing.
fn top_bits(e: Extremes) -> u32 {
    let positive = most_positive(e);
    return select(smallest_bits(e), bitcast<u32>(positive), positive >= 0);
}

// Raises the loss' maximum to the largest numbers seen.
fn raised(acc: Acc) -> Acc {
    return raise_peak(acc, top_bits(extremes), top_bits(target_extremes));
}

// Bits of the largest magnitude.
fn largest_magnitude(e: Extremes) -> u32 {
    let negative = most_negative(e);
    return max(select(0u, negative & ABS_BITS, negative >= 0x80000000u), u32(max(most_positive(e), 0)));
}

fn is_ordinary_row() -> bool {
    return (largest_magnitude(extremes) <= ORDINARY_BITS)
        & (!HAS_TARGET_ROW | (largest_magnitude(target_extremes) <= ORDINARY_BITS));
}

// 2^20.
const ORDINARY_BITS = 0x49800000u;

// grad_output / denominator: what the gradient of one row's loss is multiplied with.
struct Scale {
    factor: f32,
    nan_mask: u32,      // NAN_BITS where there is no mean, else 0
}

fn row_scale(row: u32, skipped: bool) -> Scale {
    if (skipped) {
        return Scale(0.0, 0u);
    }
    if ((denominator == 0u) | is_nan(denominator)) {
        return Scale(0.0, NAN_BITS);
    }
    return Scale(upstream_of(row) / bitcast<f32>(denominator), 0u);
}

// Whether the row's gradient is 0, whatever it holds: it is skipped, or nothing counts in the batch, whose mean is a number of the
// caller's choice then.
fn is_flat(skipped: bool) -> bool {
    return skipped | ((denominator == 0u) & !is_nan(u.dispatch.empty));
}

// Stores the row's loss, and returns what its gradient needs. All lanes of the group come here, and all get the same.
fn finish_row(index: u32, row: Row, skipped: bool, acc: Acc, writes: bool) -> RowResult {
    let row_weight = sample_weight_of(index);
    var scale = row_scale(index, skipped);
    scale.factor *= row_weight;
    stores_row = writes;
    let result = row_result(row, acc, scale);
    if (writes) {
        var loss = result.loss;
        if (HAS_SAMPLE_WEIGHT & !skipped) {
            loss = x_mul(loss, bitcast<u32>(row_weight));
        }
        losses[index] = loss;
    }
    return result;
}
