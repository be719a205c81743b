// Element-wise losses: each element of the broadcast shape is an item. Loss, its sum and the gradients in one pass.
//
//   input, second, target        tensors that broadcast against each other; items_dense.wgsl or items_broadcast.wgsl
//   weight, pos_weight           broadcast too: weights_none.wgsl or weights_bound.wgsl
//   grad_output                  () or like the items
//   grad_input, grad_second      like the items (what was broadcast is summed up afterwards, fold.wgsl)
//   out                          the items' losses if they are not reduced, else one record per workgroup
//
// A workgroup takes `chunk` consecutive items, four per lane and step. The loss file supplies
//   struct Params                        its options
//   fn item(in: Item) -> Answer          one item

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
    poison: u32,            // NAN_BITS where dx is NaN
    poison_second: u32,
}

// `second` is a mask: items where it is not 0 count for nothing, whatever they hold.
override HAS_MASK: bool = false;
override WANT_GRAD: bool = false;
override WANT_GRAD_SECOND: bool = false;

@group(0) @binding(4) var<storage, read> grad_output: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<u32>;

const IN_QUAD = vec4<u32>(0u, 1u, 2u, 3u);

fn upstream(i: u32) -> f32 {
    var g = 1.0;
    if (HAS_GRAD_OUTPUT) {
        g = grad_output[select(i, 0u, REDUCED)];
    }
    return g;
}

struct Scale {
    factor: f32,
    poison: u32,
}

fn reduction_scale() -> Scale {
    var denominator = u.frame.denominator;
    if (COUNTED) {
        denominator = bitcast<f32>(out[0]);
    }
    if (denominator == 0.0) {
        return Scale(0.0, NAN_BITS);
    }
    return Scale(1.0 / denominator, 0u);
}

// Four items' gradients and losses.
struct Quad {
    loss: vec4<u32>,
    dx: vec4<u32>,
    d_second: vec4<u32>,
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

fn answer_quad(i: u32, scale: Scale) -> Quad {
    let x = load_input(i);
    let second = load_second(i);
    let t = load_target(i);
    let w = load_weight(i);
    let p = load_pos_weight(i);
    let a = answer(Item(x.x, second.x, t.x, w.x, p.x), scale.poison);
    let b = answer(Item(x.y, second.y, t.y, w.y, p.y), scale.poison);
    let c = answer(Item(x.z, second.z, t.z, w.z, p.z), scale.poison);
    let d = answer(Item(x.w, second.w, t.w, w.w, p.w), scale.poison);
    var g = vec4<f32>(scale.factor);
    if (HAS_GRAD_OUTPUT) {
        let last = u.frame.item_count - 1u;
        let at = min(vec4<u32>(i) + IN_QUAD, vec4<u32>(last));
        g *= vec4<f32>(upstream(at.x), upstream(at.y), upstream(at.z), upstream(at.w));
    }
    let dx = g * vec4<f32>(a.dx, b.dx, c.dx, d.dx);
    let d_second = g * vec4<f32>(a.d_second, b.d_second, c.d_second, d.d_second);
    return Quad(
        vec4<u32>(a.loss, b.loss, c.loss, d.loss),
        bitcast<vec4<u32>>(dx) | vec4<u32>(a.poison, b.poison, c.poison, d.poison),
        bitcast<vec4<u32>>(d_second)
            | vec4<u32>(a.poison_second, b.poison_second, c.poison_second, d.poison_second),
    );
}

@compute @workgroup_size(WORKGROUP)
fn items(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let group = enter_group(workgroup.x + workgroup.y * u.frame.grid_x, invocation);
    let start = group * u.frame.chunk;
    let end = min(start + u.frame.chunk, u.frame.item_count);
    let scale = reduction_scale();

    var sum = empty_record();
    var largest = vec4<u32>(0u);
    for (var i = start + 4u * lane; i < end; i += 4u * LANES) {
        let quad = answer_quad(i, scale);
        if (WANT_GRAD) {
            store_grad_input(i, quad.dx);
        }
        if (WANT_GRAD_SECOND) {
            store_grad_second(i, quad.d_second);
        }
        if (REDUCED) {
            // Of the last quad, only items that exist.
            let loss = select(vec4<u32>(0u), quad.loss, vec4<u32>(i) + IN_QUAD < vec4<u32>(end));
            largest = max(largest, loss & vec4<u32>(ABS_BITS));
            let v = bitcast<vec4<f32>>(loss);
            sum = add_to(sum, (v.x + v.y) + (v.z + v.w));
        } else {
            store_losses(i, quad.loss);
        }
    }
    if (!REDUCED) {
        return;
    }
    let most = max(max(largest.x, largest.y), max(largest.z, largest.w));
    let rare = group_max_u(most) >= HUGE_BITS;
    if (rare) {
        sum = empty_record();
    }
    // Again, item by item, where some loss is huge, infinite or NaN; else the loop ends at once.
    for (var i = select(end, start + 4u * lane, rare); i < end; i += 4u * LANES) {
        let loss = answer_quad(i, scale).loss;
        sum = tally(sum, loss.x, i, end);
        sum = tally(sum, loss.y, i + 1u, end);
        sum = tally(sum, loss.z, i + 2u, end);
        sum = tally(sum, loss.w, i + 3u, end);
    }
    let total = join_records(sum);
    if (invocation == 0u) {
        let words = record_words(total);
        let at = RECORDS_AT + group * RECORD_WORDS;
        out[at] = words[0];
        out[at + 1u] = words[1];
        // `tally` keeps the sum shrunk.
        out[at + 2u] = select(words[2], words[2] | HAS_HUGE, rare);
        out[at + 3u] = words[3];
        out[at + 4u] = words[4];
    }
}

fn tally(sum: Record, bits: u32, i: u32, end: u32) -> Record {
    if (i >= end) {
        return sum;
    }
    let one = item_record(bits, i);
    return add_sums(merge_notes(sum, one), one, true);
}

fn store_losses(i: u32, loss: vec4<u32>) {
    let left = u.frame.item_count - i;
    out[i] = loss.x;
    if (left > 1u) {
        out[i + 1u] = loss.y;
    }
    if (left > 2u) {
        out[i + 2u] = loss.z;
    }
    if (left > 3u) {
        out[i + 3u] = loss.w;
    }
}
