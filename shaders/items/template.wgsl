// Element-wise losses: each element of the broadcast shape is an item. Loss, its sum and the gradients in one pass.
//
//   input, target_data, second   tensors that broadcast against each other: items/io/, items/second/
//   weight, pos_weight           broadcast too: items/weight/, items/pos_weight/
//   grad_output                  (), or like the items: items/grad_output/
//   losses                       partial sums of the losses, or like the items: items/losses/
//   grad_input, grad_second      like the items: io/write/, items/grad_second/; reduce/sum_to_shape.wgsl sums up what was broadcast
//
// A tensor that a call does not have is not bound: the file `none` of its folder is linked.
//
// A dispatch takes the items from `first_row`, a multiple of `chunk`, to `item_count`. A group takes `chunk` consecutive items, two
// fours per lane and step: eight independent items hide each other's latency. The loss file supplies
//   struct Params                        its options, which it reads from `params`
//   fn item(in: Item) -> ItemGrad        one item
//
// First everything is computed with `assume_finite` set (lib/ieee.wgsl): plain float arithmetic. The inputs are looked at on the
// way; a chunk with anything infinite, NaN or out of proportion is then computed once more, with exact arithmetic.

struct Broadcast {
    dims: vec4<u32>,            // the items' shape, outermost first
    input: vec4<u32>,           // elements between neighbours along each, 0 where broadcast
    second: vec4<u32>,
    target_data: vec4<u32>,
    weight: vec4<u32>,
    pos_weight: vec4<u32>,
}

struct Uniforms {
    dispatch: DispatchParams,
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

struct ItemGrad {
    loss: u32,              // bits
    dx: f32,                // d loss / d x
    d_second: f32,          // with respect to the second input or the target
    nan_mask: u32,          // NAN_BITS where dx is NaN; while `assume_finite` also where exact arithmetic is needed
    nan_mask_second: u32,
}

// `second` is a mask: items where it is not 0 count for nothing, whatever they hold.
override HAS_MASK: bool = false;
// The losses are combined into one.
override REDUCED: bool = false;
// All eight items of every lane and step exist.
override WHOLE: bool = false;

// A copy of the uniform's, see `zero`.
var<private> params: Params;

// 2^23: up to here products of an input, a target and weights stay far from infinity.
const FINITE_BITS = 0x4b000000u;
// Steps of a lane whose losses are summed before the sum is compensated.
const RUN = 8u;

struct Scale {
    factor: f32,
    nan_mask: u32,
}

fn reduction_scale() -> Scale {
    let divisor = denominator();
    if (divisor == 0.0) {
        return Scale(0.0, NAN_BITS);
    }
    return Scale(upstream() / divisor, 0u);
}

// Four items' gradients and losses.
struct FourGrads {
    loss: vec4<u32>,
    dx: vec4<u32>,
    d_second: vec4<u32>,
    largest: vec4<u32>,     // at least FINITE_BITS where an item needs exact arithmetic
}

fn item_grad(in: Item, nan_mask: u32) -> ItemGrad {
    if (HAS_MASK && in.second != 0u) {
        return ItemGrad(0u, 0.0, 0.0, 0u, 0u);
    }
    var one = item(in);
    one.nan_mask |= nan_mask;
    one.nan_mask_second |= nan_mask;
    return one;
}

// Items i .. i + 3.
fn grads_of_four(x: vec4<u32>, t: vec4<u32>, i: u32, scale: Scale) -> FourGrads {
    let second = load_second(i);
    let w = load_weight(i);
    let p = load_pos_weight(i);
    let every = select(scale.nan_mask, 0u, assume_finite);
    let a = item_grad(Item(x.x, second.x, t.x, w.x, p.x), every);
    let b = item_grad(Item(x.y, second.y, t.y, w.y, p.y), every);
    let c = item_grad(Item(x.z, second.z, t.z, w.z, p.z), every);
    let d = item_grad(Item(x.w, second.w, t.w, w.w, p.w), every);
    let g = scale.factor * upstream_four(i);
    let dx = g * vec4<f32>(a.dx, b.dx, c.dx, d.dx);
    let d_second = g * vec4<f32>(a.d_second, b.d_second, c.d_second, d.d_second);
    let nan_mask = vec4<u32>(a.nan_mask, b.nan_mask, c.nan_mask, d.nan_mask);
    let nan_mask_second = vec4<u32>(a.nan_mask_second, b.nan_mask_second, c.nan_mask_second, d.nan_mask_second);
    var largest = max(x & vec4<u32>(ABS_BITS), t & vec4<u32>(ABS_BITS));
    if (HAS_MASK) {
        largest = select(largest, vec4<u32>(0u), second != vec4<u32>(0u));
    } else {
        largest = max(largest, second & vec4<u32>(ABS_BITS));
    }
    return FourGrads(
        vec4<u32>(a.loss, b.loss, c.loss, d.loss),
        bitcast<vec4<u32>>(dx) | nan_mask,
        bitcast<vec4<u32>>(d_second) | nan_mask_second,
        largest | nan_mask,
    );
}

// A step of a lane: two fours, computed and stored; what is left are their losses.
struct Step {
    i: vec2<u32>,           // the first item of each four
    a: vec4<u32>,
    b: vec4<u32>,
    largest: vec4<u32>,
}

fn grads_of_step(q: u32, scale: Scale) -> Step {
    let fours = lane_fours(q);
    let x = load_input(fours);
    let t = load_target(fours);
    let i = 4u * fours;
    let a = grads_of_four(x.a, t.a, i.x, scale);
    let b = grads_of_four(x.b, t.b, i.y, scale);
    if (WANT_GRAD) {
        store_grad_input(fours, Eight(a.dx, b.dx));
    }
    if (WANT_GRAD_SECOND) {
        store_grad_second(fours, Eight(a.d_second, b.d_second));
    }
    store_losses(i.x, a.loss);
    store_losses(i.y, b.loss);
    return Step(i, a.loss, b.loss, max(a.largest, b.largest));
}

@compute @workgroup_size(WORKGROUP)
fn items(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    params = u.params;
    let group = u.dispatch.first_row / u.dispatch.chunk + enter_group(workgroup.x + workgroup.y * u.dispatch.grid_x, invocation);
    // In fours.
    let start = group * u.dispatch.chunk / 4u;
    let end = min(start + u.dispatch.chunk / 4u, last_four() + 1u);
    let scale = reduction_scale();

    var sum = empty_sum();
    var largest = vec4<u32>(scale.nan_mask);
    assume_finite = true;
    for (var q = lane_start(start); q < end; ) {
        let pause = min(q + RUN * 2u * LANES, end);
        var run = vec4<f32>(0.0);
        loop {
            let step = grads_of_step(q, scale);
            largest = max(largest, step.largest);
            run += bitcast<vec4<f32>>(existing(step.i.x, step.a)) + bitcast<vec4<f32>>(existing(step.i.y, step.b));
            q += 2u * LANES;
            if (q >= pause) {
                break;
            }
        }
        sum = add_value(sum, (run.x + run.y) + (run.z + run.w));
    }
    assume_finite = false;
    let most = max(max(largest.x, largest.y), max(largest.z, largest.w));
    let needs_exact = most >= FINITE_BITS || (REDUCED && (bitcast<u32>(sum.hi) & ABS_BITS) >= HUGE_BITS);
    let exact = group_or(select(0u, 1u, needs_exact)) != 0u;
    if (exact) {
        sum = empty_sum();
    }
    for (var q = select(end, lane_start(start), exact); q < end; q += 2u * LANES) {
        let step = grads_of_step(q, scale);
        sum = add_four_items(sum, step.a, step.i.x);
        sum = add_four_items(sum, step.b, step.i.y);
    }
    if (!REDUCED) {
        return;
    }
    let total = join_sums(sum);
    if (invocation == 0u) {
        // `add_item` keeps the sum scaled.
        store_sum(group, total, exact);
    }
}

fn last_four() -> u32 {
    return (u.dispatch.item_count - 1u) / 4u;
}

// The losses of items i .. i + 3, 0 in place of those past the last.
fn existing(i: u32, loss: vec4<u32>) -> vec4<u32> {
    return select(vec4<u32>(0u), loss, vec4<bool>(WHOLE) | (vec4<u32>(i) + IN_FOUR < vec4<u32>(u.dispatch.item_count)));
}

fn add_four_items(sum: PartialSum, loss: vec4<u32>, i: u32) -> PartialSum {
    return add_item(add_item(add_item(add_item(sum, loss.x, i), loss.y, i + 1u), loss.z, i + 2u), loss.w, i + 3u);
}

fn add_item(sum: PartialSum, bits: u32, i: u32) -> PartialSum {
    if (i >= u.dispatch.item_count) {
        return sum;
    }
    let one = sum_of_item(bits, i);
    return add_sums(merge_flags(sum, one), one, true);
}
