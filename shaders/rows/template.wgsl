// Losses over rows of classes, forward and gradient in one kernel: what the drivers (rows/driver/) have in common.
//
//   input         (N, C, D)  logits: rows/load/, io/read/
//   target_data   (N, D) class indices, or (N, C, D) values: rows/target/
//   weight        (C): rows/class_weight/
//   sample_weight (N, D): rows/sample_weight/
//   grad_output   () or (N, D): rows/grad_output/
//   losses        (N, D)  the loss of each row; BAD_BITS where the target is out of range
//   grad_input, grad_target   (N, C, D): io/write/, rows/grad_target/
//   row_stats     (N, D): rows/stats/
//   work, loss    what is summed over the rows: rows/batch/
//
// A tensor that a call does not have is not bound: the file `none` of its folder is linked.
//
// The loss file supplies, in the order of the calls:
//   struct Params                                its options
//   const ACCUMULATES: bool                      false: the loss needs no sum over the classes
//   struct Row; fn open_row(index, at) -> Row    what is read once per row
//   fn skips_row(row) -> bool                    ignored or invalid: the logits are not read, the gradient is 0
//   struct Acc; fn acc_new() -> Acc              the sums of one lane
//   fn acc_add(acc, row, block) -> Acc           16 classes more
//   fn acc_join(acc) -> Acc                      over the lanes, by group_sum, group_max ...
//   const HAS_SECOND_PASS, struct SecondPass, fn second_pass_new, second_pass_add, second_pass_join, second_pass_of
//                                                sums that need the results of the first pass; else rows/second_pass/none.wgsl
//   struct RowResult; fn row_result(row, acc, scale) -> RowResult
//                                                .loss: bits of the row's loss; .nan_mask: NAN_BITS if its gradient is NaN, else 0
//   fn grad_four(row, result, bits, j) -> vec4<u32>          bits of the gradient of classes j .. j + 3, whose logits are `bits`
//   fn grad_target_four(row, result, bits, j) -> vec4<u32>   likewise, where the target has a gradient

struct Uniforms {
    dispatch: DispatchParams,
    params: Params,
}

@group(0) @binding(8) var<storage, read_write> losses: array<u32>;

// A copy of the uniform's, see `zero`.
var<private> params: Params;
// Set by invocations that have a row: in a small batch, counting takes time.
var<private> denominator: f32;

// Sixteen classes of one row, as bits, in four fours; `first` holds the first class of each. `whole`: all of them exist. Else those
// past the row's end hold some other logit and must not count, see `valid_lanes`.
struct Block {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
    first: vec4<u32>,
    whole: bool,
}

fn valid_lanes(block: Block, first: u32) -> vec4<bool> {
    return vec4<bool>(block.whole) | (vec4<u32>(first) + IN_FOUR < vec4<u32>(class_count()));
}

// The number of the invocation's group.
fn enter_rows(workgroup: vec3<u32>, invocation: u32) -> u32 {
    params = u.params;
    return enter_group(workgroup.x + workgroup.y * u.dispatch.grid_x, invocation);
}

// grad_output / denominator: what the gradient of one row's loss is multiplied with.
struct Scale {
    factor: f32,
    nan_mask: u32,      // NAN_BITS where the denominator is 0 though the row counts, else 0
}

fn row_scale(row: u32, skipped: bool) -> Scale {
    if (skipped) {
        return Scale(0.0, 0u);
    }
    if (denominator == 0.0) {
        return Scale(0.0, NAN_BITS);
    }
    return Scale(upstream_of(row) / denominator, 0u);
}

// Stores the row's loss, and returns what its gradient needs. All lanes of the group come here, and all get the same.
fn finish_row(index: u32, row: Row, skipped: bool, acc: Acc, writes: bool) -> RowResult {
    let row_weight = sample_weight_of(index);
    var scale = row_scale(index, skipped);
    scale.factor *= row_weight;
    let result = row_result(row, acc, scale);
    if (writes) {
        var loss = result.loss;
        if (HAS_SAMPLE_WEIGHT && !skipped) {
            loss = x_mul(loss, bitcast<u32>(row_weight));
        }
        losses[index] = loss;
    }
    return result;
}

// The gradient of four classes. A number whose exponent bits are all set is NaN: or-ing them in needs no float that could be
// optimised away.
fn gradient(row: Row, result: RowResult, bits: vec4<u32>, j: u32) -> vec4<u32> {
    return grad_four(row, result, bits, j) | vec4<u32>(result.nan_mask);
}

fn store_target_gradient(row: Row, result: RowResult, at: u32, bits: vec4<u32>, j: u32) {
    store_grad_target(at, j, grad_target_four(row, result, bits, j) | vec4<u32>(result.nan_mask));
}
