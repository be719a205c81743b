// Losses over rows of classes, forward and gradient in one kernel: what the ways to go about it (rows_*.wgsl) have in common.
//
//   input        (N, C, D)  logits, by quads: quads_*.wgsl; their storage type: read_*.wgsl
//   target       (N, D) class indices, or (N, C, D) values: target_*.wgsl
//   weight       (C): class_weight_*.wgsl
//   grad_output  () or (N, D)
//   grad_input, grad_target   like input: write_*.wgsl, grad_target_*.wgsl
//   sample_weight, row_stats   (N, D), where the call has them: sample_weight_*.wgsl, stats_*.wgsl
//   items        (N, D)  the loss of each row; BAD_BITS where the target is out of range
//   work         word 0: the denominator, where an earlier dispatch counts it: batch_*.wgsl
//
// The loss file supplies, in the order they are called:
//   struct Params                                     its options
//   const ACCUMULATES: bool                           false: the loss needs no sum over the classes
//   struct Row;  fn open_row(index, at) -> Row         what is read once per row
//   fn skips_row(row) -> bool                         ignored or invalid: logits are not read, gradient 0
//   struct Acc;  fn acc_new() -> Acc
//   fn acc_add(acc, row, block) -> Acc                16 classes more
//   fn acc_join(acc) -> Acc                           over the lanes, with group_sum, group_max ...
//   const REVISITS, struct Again; fn revisit_new, revisit_add, revisit_join, revisit_of     a second pass; rows_once.wgsl if there
//                                                     is none
//   struct Closed;  fn close_row(row, acc, scale) -> Closed .loss: bits of the row's loss; .poison: NAN_BITS if its
//                                                     gradient is NaN, else 0
//   fn grad_quad(row, closed, quad_bits, j) -> vec4<u32>       bits of the gradient of classes j .. j + 3
//   fn grad_target_quad(row, closed, quad_bits, j) -> vec4<u32>    likewise, where the target has a gradient

struct Uniforms {
    frame: Frame,
    params: Params,
}

@group(0) @binding(4) var<storage, read> grad_output: array<f32>;
@group(0) @binding(7) var<storage, read_write> items: array<u32>;

// A copy of the uniforms', see `zero`.
var<private> params: Params;
// Set by invocations that have a row: in a small batch, counting takes time.
var<private> denominator: f32;

override HAS_WEIGHT: bool = false;
override WANT_GRAD: bool = false;

// Sixteen classes of one row, as bits, in four quads; `first` holds the first class of each quad.
// `valid` is false for lanes of a quad past the row's end: they hold some other logit and must not count.
struct Block {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
    first: vec4<u32>,
    whole: bool,
}


// C, where a kernel is made for one number of classes; else 0.
override CLASSES: u32 = 0u;

fn class_count() -> u32 {
    return select(CLASSES, u.frame.classes, CLASSES == 0u);
}

fn valid_lanes(block: Block, first: u32) -> vec4<bool> {
    return vec4<bool>(block.whole) | (vec4<u32>(first) + IN_QUAD < vec4<u32>(class_count()));
}

// The number of the invocation's group.
fn enter_rows(workgroup: vec3<u32>, invocation: u32) -> u32 {
    params = u.params;
    return enter_group(workgroup.x + workgroup.y * u.frame.grid_x, invocation);
}

// The row's element of class 0 in a band's tensors.
fn row_start(row_in_band: u32) -> u32 {
    let n = row_in_band / u.frame.inner;
    return n * u.frame.classes * u.frame.inner + (row_in_band - n * u.frame.inner);
}

// grad_output / denominator: what the gradient of one row's loss is multiplied with.
struct Scale {
    factor: f32,
    poison: u32,        // NAN_BITS where the denominator is 0 though the row counts, else 0
}

fn row_scale(row: u32, skipped: bool) -> Scale {
    if (skipped) {
        return Scale(0.0, 0u);
    }
    var upstream = 1.0;
    if (HAS_GRAD_OUTPUT) {
        upstream = grad_output[select(row, 0u, REDUCED)];
    }
    if (denominator == 0.0) {
        return Scale(0.0, NAN_BITS);
    }
    return Scale(upstream / denominator, 0u);
}

// The row's loss, into `items`, and what its gradient needs. All lanes of the group come here, and all get the same.
fn finish_row(index: u32, row: Row, skipped: bool, acc: Acc, writes: bool) -> Closed {
    let own_weight = sample_weight_of(index);
    var scale = row_scale(index, skipped);
    scale.factor *= own_weight;
    let closed = close_row(row, acc, scale);
    if (writes) {
        var loss = closed.loss;
        if (HAS_SAMPLE_WEIGHT && !skipped) {
            loss = x_mul(loss, bitcast<u32>(own_weight));
        }
        items[index] = loss;
    }
    return closed;
}

// The gradient of four classes. A number whose exponent bits are all set is NaN: or-ing them in needs no float that could be
// optimised away.
fn gradient(row: Row, closed: Closed, bits: vec4<u32>, j: u32) -> vec4<u32> {
    return grad_quad(row, closed, bits, j) | vec4<u32>(closed.poison);
}

fn store_target_gradient(row: Row, closed: Closed, at: u32, bits: vec4<u32>, j: u32) {
    store_grad_target(at, j, grad_target_quad(row, closed, bits, j) | vec4<u32>(closed.poison));
}
