// Losses over rows of classes: one group of lanes per row, forward and gradient in one kernel.
//
//   input        (N, C, D)  logits, by quads: quads_*.wgsl
//   target       (N, D) class indices, or (N, C, D) values
//   weight       (C)
//   grad_output  () or (N, D)
//   grad_input, grad_target   like input
//   sample_weight, row_stats   (N, D), where the call has them: sample_weight_*.wgsl, stats_*.wgsl
//   items        (N, D)  the loss of each row; BAD_BITS where the target is out of range
//   work         word 0: the denominator, where an earlier dispatch counts it
//
// The loss file supplies, in the order they are called:
//   struct Params                                     its options
//   const ACCUMULATES: bool                           false: the loss needs no sum over the classes
//   struct Row;  fn open_row(index, at) -> Row         what is read once per row
//   fn skips_row(row) -> bool                         ignored or invalid: logits are not read, gradient 0
//   struct Acc;  fn acc_new() -> Acc
//   fn acc_add(acc, row, block) -> Acc                16 classes more
//   fn acc_join(acc) -> Acc                           over the lanes, with group_sum, group_max ...
//   const REVISITS, struct Again; fn revisit_new, revisit_add, revisit_join     a second pass; rows_once.wgsl if there is none
//   struct Closed;  fn close_row(row, acc, scale) -> Closed .loss: bits of the row's loss; .poison: NAN_BITS if its
//                                                     gradient is NaN, else 0
//   fn grad_quad(row, closed, quad_bits, j) -> vec4<u32>       bits of the gradient of classes j .. j + 3
//   fn grad_target_value(row, closed, bits, j) -> u32              bits, where the target has a gradient

struct Uniforms {
    frame: Frame,
    params: Params,
}

@group(0) @binding(2) var<storage, read> target_data: array<u32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read> grad_output: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_target: array<u32>;
@group(0) @binding(7) var<storage, read_write> items: array<u32>;
@group(0) @binding(8) var<storage, read> work: array<u32>;

override HAS_WEIGHT: bool = false;
override WANT_GRAD: bool = false;
override WANT_GRAD_TARGET: bool = false;

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

const IN_QUAD = vec4<u32>(0u, 1u, 2u, 3u);

fn valid_lanes(block: Block, first: u32) -> vec4<bool> {
    return vec4<bool>(block.whole) | (vec4<u32>(first) + IN_QUAD < vec4<u32>(u.frame.classes));
}

fn class_weight(c: u32) -> f32 {
    if (HAS_WEIGHT) {
        return weight[c];
    }
    return 1.0;
}

// The row's element of class 0 in a band's tensors.
fn row_start(row_in_band: u32) -> u32 {
    let n = row_in_band / u.frame.inner;
    return n * u.frame.classes * u.frame.inner + (row_in_band - n * u.frame.inner);
}

fn load_block(at: u32, quad: u32, whole: bool) -> Block {
    var q = quad + vec4<u32>(0u, LANES, 2u * LANES, 3u * LANES);
    let first = 4u * q;
    if (!whole) {
        q = min(q, vec4<u32>((u.frame.classes - 1u) / 4u));
    }
    return Block(load_quad(at, q.x), load_quad(at, q.y), load_quad(at, q.z), load_quad(at, q.w), first, whole);
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
    var denominator = u.frame.denominator;
    if (COUNTED) {
        denominator = bitcast<f32>(work[0]);
    }
    if (denominator == 0.0) {
        return Scale(0.0, NAN_BITS);
    }
    return Scale(upstream / denominator, 0u);
}

@compute @workgroup_size(WORKGROUP)
fn rows(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let in_band = enter_group(workgroup.x + workgroup.y * u.frame.grid_x, invocation);
    if (in_band >= u.frame.rows) {
        return;
    }
    let index = u.frame.first_row + in_band;
    let at = row_start(in_band);
    let quads = (u.frame.classes + 3u) / 4u;
    // Quads in blocks that lie wholly inside the row: 16 classes per lane each.
    let whole = u.frame.classes / (16u * LANES) * 4u * LANES;

    let row = open_row(index, at);
    let skipped = skips_row(row);
    var acc = acc_new();
    if (ACCUMULATES && !skipped) {
        // Loops that leave at the end of their body: lavapipe runs a body once more, masked, where the test comes first.
        if (whole > 0u) {
            var q = 0u;
            loop {
                acc = acc_add(acc, row, load_block(at, q + lane, true));
                q += 4u * LANES;
                if (q >= whole) {
                    break;
                }
            }
        }
        if (whole < quads) {
            acc = acc_add(acc, row, load_block(at, whole + lane, false));
        }
    }
    acc = acc_join(acc);
    if (REVISITS) {
        // A second pass over the classes, for sums that need the first pass' result.
        var again = revisit_new();
        for (var q = select(lane, quads, skipped); q < quads; q += LANES) {
            again = revisit_add(again, row, acc, load_quad(at, q), 4u * q);
        }
        acc = revisit_join(acc, again);
    }
    let own_weight = sample_weight_of(index);
    var scale = row_scale(index, skipped);
    scale.factor *= own_weight;
    let closed = close_row(row, acc, scale);
    if (lane == 0u) {
        var loss = closed.loss;
        if (HAS_SAMPLE_WEIGHT && !skipped) {
            loss = x_mul(loss, bitcast<u32>(own_weight));
        }
        items[index] = loss;
    }
    if (WANT_GRAD || WANT_GRAD_TARGET) {
        if (skipped) {
            for (var q = lane; q < quads; q += LANES) {
                store_zeros(at, q);
            }
            return;
        }
        if (lane < quads) {
            var q = lane;
            loop {
                store_gradients(row, closed, at, q);
                q += LANES;
                if (q >= quads) {
                    break;
                }
            }
        }
    }
}

fn store_gradients(row: Row, closed: Closed, at: u32, quad: u32) {
    let bits = load_quad(at, quad);
    let j = 4u * quad;
    // A number whose exponent bits are all set is NaN: or-ing them in needs no float that could be optimised away.
    if (WANT_GRAD) {
        store_quad(at, quad, grad_quad(row, closed, bits, j) | vec4<u32>(closed.poison));
    }
    if (WANT_GRAD_TARGET) {
        store_grad_target(at, j, grad_target_value(row, closed, bits.x, j) | closed.poison);
        store_grad_target(at, j + 1u, grad_target_value(row, closed, bits.y, j + 1u) | closed.poison);
        store_grad_target(at, j + 2u, grad_target_value(row, closed, bits.z, j + 2u) | closed.poison);
        store_grad_target(at, j + 3u, grad_target_value(row, closed, bits.w, j + 3u) | closed.poison);
    }
}

fn store_zeros(at: u32, quad: u32) {
    if (WANT_GRAD) {
        store_quad(at, quad, vec4<u32>(0u));
    }
    if (WANT_GRAD_TARGET) {
        for (var k = 0u; k < 4u; k++) {
            store_grad_target(at, 4u * quad + k, 0u);
        }
    }
}

fn store_grad_target(at: u32, j: u32, bits: u32) {
    if (j < u.frame.classes) {
        grad_target[at + j * u.frame.inner] = bits;
    }
}
