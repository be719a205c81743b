// Element-wise losses: each element of the broadcast shape is an item. Loss, its sum and the gradients in one pass.
//
//   input, target_data, second   tensors that broadcast against each other: items/io/, items/second/
//   weight, pos_weight           broadcast too: items/weight/, items/pos_weight/
//   grad_output                  (), or like the items: items/grad_output/
//   losses                       partial sums of the losses, or like the items: items/losses/
//   grad_input, grad_second      like the items: io/write/, items/grad_second/; reduce/sum_to_shape.wgsl sums up what was broadcast.
//                                The gradient of the input may take its place: io/in_place/, items/order/
//
// A tensor that a call does not have is not bound: the file `none` of its folder is linked.
//
// A dispatch takes the items from `first_row`, a multiple of `chunk`, to `item_count`. A group takes `chunk` consecutive items, in
// blocks of two steps: two fours per lane and step. All of a block is loaded before any of it is used, so that a lane waits for memory
// once, and many loads are under way at a time. The plan keeps chunks short: GPUs hide what a lane waits for behind other groups. The
// loss file supplies
//   struct Params                        its options, which it reads from `params`
//   fn item(in: Item) -> ItemGrad        one item
//
// First everything is computed with `assume_finite` set (lib/ieee.wgsl): plain float arithmetic. The inputs are looked at on the
// way; a chunk with anything infinite, NaN or out of proportion is then computed once more, with exact arithmetic.
//
// How far a sum may be off, in units of 2^-24 of the sum of the losses' magnitudes: the 16 losses of a lane's block are added in 4
// levels; blocks are compensated, but for 1 rounding at their end; a workgroup adds its lanes in at most 10 levels. reduce/ adds
// the sums of the chunks likewise. No term grows with the number of items.

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
    g: f32,                 // grad_output / denominator: both gradients' factor
}

// The loss alone is not multiplied with g. The gradients are, by each loss in an order that leaves the range of f32 only where the
// result does: g is small where a derivative is large, in a mean of many items for example.
struct ItemGrad {
    loss: u32,              // bits
    dx: f32,                // g d loss / d x
    d_second: f32,          // the same with respect to the second input or the target
    nan_mask: u32,          // NAN_BITS where dx is NaN; while `assume_finite` also where exact arithmetic is needed
    nan_mask_second: u32,
}

// `second` is a mask: items where it is not 0 count for nothing, whatever they hold.
override HAS_MASK: bool = false;
// The losses are combined into one.
override REDUCED: bool = false;
// All items of every lane's blocks exist.
override WHOLE: bool = false;

// A copy of the uniform's, see `zero`.
var<private> params: Params;

// 2^23: up to here products of an input, a target and weights stay far from infinity.
const FINITE_BITS = 0x4b000000u;
const NEG_FINITE_BITS = 0xcb000000u;

struct Scale {
    factor: f32,
    nan_mask: u32,
}

fn reduction_scale() -> Scale {
    let divisor = denominator();
    if ((divisor == 0u) | is_nan(divisor)) {
        return Scale(0.0, NAN_BITS);
    }
    return Scale(upstream() / bitcast<f32>(divisor), 0u);
}

// What is read of items i .. i + 3. Those past the last repeat earlier ones.
struct Four {
    i: u32,
    x: vec4<u32>,
    second: vec4<u32>,
    t: vec4<u32>,
    w: vec4<f32>,
    pos_weight: vec4<f32>,
    upstream: vec4<f32>,
}

// A step of a lane.
struct Step {
    fours: vec2<u32>,
    a: Four,
    b: Four,
}

fn load_four_items(i: u32, x: vec4<u32>, t: vec4<u32>) -> Four {
    return Four(i, x, load_second(i), t, load_weight(i), load_pos_weight(i), upstream_four(i));
}

fn load_step(q: u32) -> Step {
    let fours = lane_fours(q);
    let x = load_input(fours);
    let t = load_target(fours);
    return Step(fours, load_four_items(4u * fours.x, x.a, t.a), load_four_items(4u * fours.y, x.b, t.b));
}

// What a lane has seen of its inputs: of the numbers without a sign the largest, of those with one the largest magnitude.
struct Seen {
    positive: vec4<i32>,
    negative: vec4<u32>,
    nan_mask: vec4<u32>,    // the items' own demand for exact arithmetic
}

// As signed integers the bits of numbers without a sign are in order, and above all others; as unsigned ones, those with a sign.
fn see_bits(seen: Seen, bits: vec4<u32>) -> Seen {
    return Seen(max(seen.positive, bitcast<vec4<i32>>(bits)), max(seen.negative, bits), seen.nan_mask);
}

fn see(seen: Seen, four: Four) -> Seen {
    if (HAS_MASK) {
        let counts = four.second == vec4<u32>(0u);
        let with_input = see_bits(seen, select(vec4<u32>(0u), four.x, counts));
        return see_bits(with_input, select(vec4<u32>(0u), four.t, counts));
    }
    let both = see_bits(see_bits(seen, four.x), four.t);
    if (HAS_SECOND) {
        return see_bits(both, four.second);
    }
    return both;
}

fn out_of_proportion(seen: Seen) -> bool {
    let positive = max(max(seen.positive.x, seen.positive.y), max(seen.positive.z, seen.positive.w));
    let negative = max(max(seen.negative.x, seen.negative.y), max(seen.negative.z, seen.negative.w));
    let nan_mask = (seen.nan_mask.x | seen.nan_mask.y) | (seen.nan_mask.z | seen.nan_mask.w);
    return (positive >= i32(FINITE_BITS)) | (negative >= NEG_FINITE_BITS) | (nan_mask != 0u);
}

// Four items' gradients and losses.
struct FourGrads {
    loss: vec4<u32>,
    dx: vec4<u32>,
    d_second: vec4<u32>,
    nan_mask: vec4<u32>,
}

fn item_grad(in: Item, nan_mask: u32) -> ItemGrad {
    if (HAS_MASK & (in.second != 0u)) {
        return ItemGrad(0u, 0.0, 0.0, 0u, 0u);
    }
    var one = item(in);
    one.nan_mask |= nan_mask;
    one.nan_mask_second |= nan_mask;
    return one;
}

fn grads_of_four(in: Four, scale: Scale) -> FourGrads {
    if (!assume_finite) {
        return exact_grads_of_four(in, scale);
    }
    let g = scale.factor * in.upstream;
    let a = item_grad(Item(in.x.x, in.second.x, in.t.x, in.w.x, in.pos_weight.x, g.x), 0u);
    let b = item_grad(Item(in.x.y, in.second.y, in.t.y, in.w.y, in.pos_weight.y, g.y), 0u);
    let c = item_grad(Item(in.x.z, in.second.z, in.t.z, in.w.z, in.pos_weight.z, g.z), 0u);
    let d = item_grad(Item(in.x.w, in.second.w, in.t.w, in.w.w, in.pos_weight.w, g.w), 0u);
    let dx = vec4<f32>(a.dx, b.dx, c.dx, d.dx);
    let d_second = vec4<f32>(a.d_second, b.d_second, c.d_second, d.d_second);
    let nan_mask = vec4<u32>(a.nan_mask, b.nan_mask, c.nan_mask, d.nan_mask);
    let nan_mask_second = vec4<u32>(a.nan_mask_second, b.nan_mask_second, c.nan_mask_second, d.nan_mask_second);
    return FourGrads(
        vec4<u32>(a.loss, b.loss, c.loss, d.loss),
        bitcast<vec4<u32>>(dx) | nan_mask,
        bitcast<vec4<u32>>(d_second) | nan_mask_second,
        nan_mask,
    );
}

// One item after the other: exact arithmetic is rare, and its text long. Since compilers cannot know that `zero` is 0, they keep the loop.
fn exact_grads_of_four(in: Four, scale: Scale) -> FourGrads {
    let g = scale.factor * in.upstream;
    var four: FourGrads;
    for (var k = 0u; k < 4u + zero; k++) {
        let one = item_grad(Item(in.x[k], in.second[k], in.t[k], in.w[k], in.pos_weight[k], g[k]), scale.nan_mask);
        let here = IN_FOUR == vec4<u32>(k);
        four.loss = select(four.loss, vec4<u32>(one.loss), here);
        four.dx = select(four.dx, vec4<u32>(bitcast<u32>(one.dx) | one.nan_mask), here);
        four.d_second = select(four.d_second, vec4<u32>(bitcast<u32>(one.d_second) | one.nan_mask_second), here);
        four.nan_mask = select(four.nan_mask, vec4<u32>(one.nan_mask), here);
    }
    return four;
}

// What is left of a step once its gradients are stored: its losses, 0 in place of those past the last.
struct Losses {
    a: vec4<u32>,
    b: vec4<u32>,
    nan_mask: vec4<u32>,
}

fn take_step(step: Step, scale: Scale, stores_grad: bool) -> Losses {
    let a = grads_of_four(step.a, scale);
    let b = grads_of_four(step.b, scale);
    if (WANT_GRAD & stores_grad) {
        store_grad_input(step.fours, Eight(a.dx, b.dx));
    }
    if (WANT_GRAD_SECOND) {
        store_grad_second(step.fours, Eight(a.d_second, b.d_second));
    }
    store_losses(step.a.i, a.loss);
    store_losses(step.b.i, b.loss);
    return Losses(existing(step.a.i, a.loss), existing(step.b.i, b.loss), a.nan_mask | b.nan_mask);
}

fn sum_of_step(losses: Losses) -> vec4<f32> {
    return bitcast<vec4<f32>>(losses.a) + bitcast<vec4<f32>>(losses.b);
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
    var seen = Seen(vec4<i32>(0), vec4<u32>(0u), vec4<u32>(scale.nan_mask));
    assume_finite = true;
    for (var q = lane_start(start); q < end; q += 4u * LANES) {
        let first = load_step(q);
        let second = load_step(q + 2u * LANES);
        seen = see(see(see(see(seen, first.a), first.b), second.a), second.b);
        let a = take_step(first, scale, STORES_AT_ONCE);
        let b = take_step(second, scale, STORES_AT_ONCE);
        seen.nan_mask |= a.nan_mask | b.nan_mask;
        let four = sum_of_step(a) + sum_of_step(b);
        sum = add_value(sum, (four.x + four.y) + (four.z + four.w));
    }
    assume_finite = false;
    let plain = sum.hi + sum.lo;
    let needs_exact = out_of_proportion(seen) | (REDUCED & ((bitcast<u32>(plain) & ABS_BITS) >= HUGE_BITS));
    let exact = any_lane(needs_exact);
    if (!exact) {
        store_ordinary(start, end, scale);
    }
    if (!REDUCED & !exact) {
        return;
    }
    // In an ordinary chunk there is nothing to tell besides the sum.
    var total = PartialSum(group_sum(plain), 0.0, 0u, 0u, NO_ITEM);
    if (exact) {
        sum = empty_sum();
        for (var q = lane_start(start); q < end; q += 2u * LANES) {
            let step = load_step(q);
            let losses = take_step(step, scale, true);
            sum = add_four_items(sum, losses.a, step.a.i);
            sum = add_four_items(sum, losses.b, step.b.i);
        }
        total = join_sums(sum, group_or(sum.flags), true);
    }
    // Not a workgroup that a grid of two dimensions has too many.
    if (REDUCED & (invocation == 0u) & (start < end)) {
        // `add_item` keeps the sum scaled.
        store_sum(group, total, exact);
    }
}

var<workgroup> answer: u32;

// Whether something holds for some lane of the group, a workgroup. What depends on the answer is uniform, barriers included: browsers
// believe it of a value that `workgroupUniformLoad` gives, not of a shuffle's.
fn any_lane(holds: bool) -> bool {
    let some = group_or(select(0u, 1u, holds));
    if (lane == 0u) {
        answer = some;
    }
    // Waits before and after the load.
    return workgroupUniformLoad(&answer) != 0u;
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
    return collect(sum, sum_of_item(bits, i), true);
}
