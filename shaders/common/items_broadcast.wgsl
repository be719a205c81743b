// Tensors that broadcast to the items' shape, read in place; any number of items.

@group(0) @binding(2) var<storage, read> expected: array<u32>;
@group(0) @binding(6) var<storage, read_write> grad_second: array<u32>;

fn lane_start(start: u32) -> u32 {
    return start + lane;
}

fn lane_quads(q: u32) -> vec2<u32> {
    return vec2<u32>(q, q + LANES);
}

fn input_quad(q: u32) -> vec4<u32> {
    let at = offsets(4u * q, u.broadcast.input);
    return vec4<u32>(read_one(at.x), read_one(at.y), read_one(at.z), read_one(at.w));
}

fn load_input(quads: vec2<u32>) -> Pair {
    return Pair(input_quad(quads.x), input_quad(quads.y));
}

fn target_quad(q: u32) -> vec4<u32> {
    let at = offsets(4u * q, u.broadcast.expected);
    return vec4<u32>(expected[at.x], expected[at.y], expected[at.z], expected[at.w]);
}

fn load_target(quads: vec2<u32>) -> Pair {
    return Pair(target_quad(quads.x), target_quad(quads.y));
}

// How many of the four items from i on there are.
fn items_left(i: u32) -> u32 {
    return u.frame.item_count - min(i, u.frame.item_count);
}

fn store_input_quad(i: u32, bits: vec4<u32>) {
    let left = items_left(i);
    if (left > 0u) {
        write_one(i, bits.x);
    }
    if (left > 1u) {
        write_one(i + 1u, bits.y);
    }
    if (left > 2u) {
        write_one(i + 2u, bits.z);
    }
    if (left > 3u) {
        write_one(i + 3u, bits.w);
    }
}

fn store_grad_input(quads: vec2<u32>, bits: Pair) {
    store_input_quad(4u * quads.x, bits.a);
    store_input_quad(4u * quads.y, bits.b);
}

fn store_second_quad(i: u32, bits: vec4<u32>) {
    let left = items_left(i);
    if (left > 0u) {
        grad_second[i] = bits.x;
    }
    if (left > 1u) {
        grad_second[i + 1u] = bits.y;
    }
    if (left > 2u) {
        grad_second[i + 2u] = bits.z;
    }
    if (left > 3u) {
        grad_second[i + 3u] = bits.w;
    }
}

fn store_grad_second(quads: vec2<u32>, bits: Pair) {
    store_second_quad(4u * quads.x, bits.a);
    store_second_quad(4u * quads.y, bits.b);
}
