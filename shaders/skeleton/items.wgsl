// Element-wise losses: each element of the broadcast shape is an item. Loss, its sum and the gradients in one pass.
//
//   input, second, target        tensors that broadcast against each other; items_quads.wgsl, items_pairs.wgsl or items_broadcast.wgsl
//   weight, pos_weight           broadcast too: weights_none.wgsl or weights_bound.wgsl
//   grad_input, grad_second      like the items (what was broadcast is summed up afterwards, fold.wgsl)
//   grad_output, out             () and one record per workgroup if the losses are reduced, else like the items: losses_*.wgsl
//
// A dispatch takes the items from `first_row`, a multiple of `chunk`, to `item_count`; a group takes `chunk` consecutive items, two
// quads per lane and step: eight independent items hide each other's latency. The loss file supplies
//   struct Params                        its options, which it reads from `params`
//   fn item(in: Item) -> Answer          one item
//
// First everything is computed with `tame` set (extended.wgsl): plain float arithmetic. What it was given is looked at on the
// way; a chunk with anything infinite, NaN or out of proportion is then done again with exact arithmetic.

struct Broadcast {
    dims: vec4<u32>,            // the items' shape, outermost first
    input: vec4<u32>,           // elements between neighbours along each, 0 where broadcast
    second: vec4<u32>,
    expected: vec4<u32>,        // the target's
    weight: vec4<u32>,
    pos_weight: vec4<u32>,
}

struct Uniforms {
    frame: Frame,
    broadcast: Broadcast,
    params: Params,
}

// What a loss is given, as bits where NaN and infinity may occur.
struct Item {
    x: u32,
    second: u32,
    t: u32,
    w: f32,
    pos_weight: f32,
}

struct Answer {
    loss: u32,              // bits
    dx: f32,                // d loss / d x
    d_second: f32,          // with respect to the second input or the target
    poison: u32,            // NAN_BITS where dx is NaN; or, while `tame`, where the item is not
    poison_second: u32,
}

// `second` is a mask: items where it is not 0 count for nothing, whatever they hold.
override HAS_MASK: bool = false;
override WANT_GRAD: bool = false;
override WANT_GRAD_SECOND: bool = false;
// All eight items of every lane and step exist.
override WHOLE: bool = false;

// A copy of the uniforms', see `zero`.
var<private> params: Params;

// 2^23: up to here products of an input, a target and weights stay far from infinity.
const TAME_BITS = 0x4b000000u;
// Steps of a lane whose losses are summed before the sum is compensated.
const RUN = 8u;

struct Scale {
    factor: f32,
    poison: u32,
}

fn reduction_scale() -> Scale {
    let divisor = denominator();
    if (divisor == 0.0) {
        return Scale(0.0, NAN_BITS);
    }
    return Scale(upstream() / divisor, 0u);
}

// Four items' gradients and losses.
struct Quad {
    loss: vec4<u32>,
    dx: vec4<u32>,
    d_second: vec4<u32>,
    largest: vec4<u32>,     // at least TAME_BITS where an item is not tame
}

fn answer(in: Item, poison: u32) -> Answer {
    if (HAS_MASK && in.second != 0u) {
        return Answer(0u, 0.0, 0.0, 0u, 0u);
    }
    var one = item(in);
    one.poison |= poison;
    one.poison_second |= poison;
    return one;
}

// Items i .. i + 3.
fn answer_quad(x: vec4<u32>, t: vec4<u32>, i: u32, scale: Scale) -> Quad {
    let second = load_second(i);
    let w = load_weight(i);
    let p = load_pos_weight(i);
    let every = select(scale.poison, 0u, tame);
    let a = answer(Item(x.x, second.x, t.x, w.x, p.x), every);
    let b = answer(Item(x.y, second.y, t.y, w.y, p.y), every);
    let c = answer(Item(x.z, second.z, t.z, w.z, p.z), every);
    let d = answer(Item(x.w, second.w, t.w, w.w, p.w), every);
    let g = scale.factor * upstream_quad(i);
    let dx = g * vec4<f32>(a.dx, b.dx, c.dx, d.dx);
    let d_second = g * vec4<f32>(a.d_second, b.d_second, c.d_second, d.d_second);
    let poison = vec4<u32>(a.poison, b.poison, c.poison, d.poison);
    let poison_second = vec4<u32>(a.poison_second, b.poison_second, c.poison_second, d.poison_second);
    var largest = max(x & vec4<u32>(ABS_BITS), t & vec4<u32>(ABS_BITS));
    if (HAS_MASK) {
        largest = select(largest, vec4<u32>(0u), second != vec4<u32>(0u));
    } else {
        largest = max(largest, second & vec4<u32>(ABS_BITS));
    }
    return Quad(
        vec4<u32>(a.loss, b.loss, c.loss, d.loss),
        bitcast<vec4<u32>>(dx) | poison,
        bitcast<vec4<u32>>(d_second) | poison_second,
        largest | poison,
    );
}

// A step of a lane: two quads, answered and stored; what is left are their losses.
struct Step {
    i: vec2<u32>,           // the first item of each quad
    a: vec4<u32>,
    b: vec4<u32>,
    largest: vec4<u32>,
}

fn answer_step(q: u32, scale: Scale) -> Step {
    let quads = lane_quads(q);
    let x = load_input(quads);
    let t = load_target(quads);
    let i = 4u * quads;
    let a = answer_quad(x.a, t.a, i.x, scale);
    let b = answer_quad(x.b, t.b, i.y, scale);
    if (WANT_GRAD) {
        store_grad_input(quads, Pair(a.dx, b.dx));
    }
    if (WANT_GRAD_SECOND) {
        store_grad_second(quads, Pair(a.d_second, b.d_second));
    }
    store_losses(i.x, a.loss);
    store_losses(i.y, b.loss);
    return Step(i, a.loss, b.loss, max(a.largest, b.largest));
}

@compute @workgroup_size(WORKGROUP)
fn items(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    params = u.params;
    let group = u.frame.first_row / u.frame.chunk + enter_group(workgroup.x + workgroup.y * u.frame.grid_x, invocation);
    // In quads.
    let start = group * u.frame.chunk / 4u;
    let end = min(start + u.frame.chunk / 4u, last_quad() + 1u);
    let scale = reduction_scale();

    var sum = empty_record();
    var largest = vec4<u32>(scale.poison);
    tame = true;
    for (var q = lane_start(start); q < end; ) {
        let pause = min(q + RUN * 2u * LANES, end);
        var run = vec4<f32>(0.0);
        loop {
            let step = answer_step(q, scale);
            largest = max(largest, step.largest);
            run += bitcast<vec4<f32>>(existing(step.i.x, step.a)) + bitcast<vec4<f32>>(existing(step.i.y, step.b));
            q += 2u * LANES;
            if (q >= pause) {
                break;
            }
        }
        sum = add_to(sum, (run.x + run.y) + (run.z + run.w));
    }
    tame = false;
    let most = max(max(largest.x, largest.y), max(largest.z, largest.w));
    let wild = most >= TAME_BITS || (REDUCED && (bitcast<u32>(sum.high) & ABS_BITS) >= HUGE_BITS);
    let again = group_or(select(0u, 1u, wild)) != 0u;
    if (again) {
        sum = empty_record();
    }
    for (var q = select(end, lane_start(start), again); q < end; q += 2u * LANES) {
        let step = answer_step(q, scale);
        sum = tally_quad(sum, step.a, step.i.x);
        sum = tally_quad(sum, step.b, step.i.y);
    }
    if (!REDUCED) {
        return;
    }
    let total = join_records(sum);
    if (invocation == 0u) {
        // `tally` keeps the sum shrunk.
        store_record(group, total, again);
    }
}

fn last_quad() -> u32 {
    return (u.frame.item_count - 1u) / 4u;
}

// The losses of items i .. i + 3, 0 in place of those past the last.
fn existing(i: u32, loss: vec4<u32>) -> vec4<u32> {
    return select(vec4<u32>(0u), loss, vec4<bool>(WHOLE) | (vec4<u32>(i) + IN_QUAD < vec4<u32>(u.frame.item_count)));
}

fn tally_quad(sum: Record, loss: vec4<u32>, i: u32) -> Record {
    return tally(tally(tally(tally(sum, loss.x, i), loss.y, i + 1u), loss.z, i + 2u), loss.w, i + 3u);
}

fn tally(sum: Record, bits: u32, i: u32) -> Record {
    if (i >= u.frame.item_count) {
        return sum;
    }
    let one = item_record(bits, i);
    return add_sums(merge_notes(sum, one), one, true);
}
