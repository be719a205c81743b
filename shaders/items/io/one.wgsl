// Tensors that broadcast to the items' shape, read in place, one element at a time; any number of items.

@group(0) @binding(2) var<storage, read> target_data: array<u32>;

fn lane_start(start: u32) -> u32 {
    return start + lane;
}

fn lane_fours(q: u32) -> vec2<u32> {
    return vec2<u32>(q, q + LANES);
}

fn input_four(q: u32) -> vec4<u32> {
    let at = offsets(4u * q, u.broadcast.input);
    return vec4<u32>(read_one(at.x), read_one(at.y), read_one(at.z), read_one(at.w));
}

fn load_input(fours: vec2<u32>) -> Eight {
    return Eight(input_four(fours.x), input_four(fours.y));
}

fn target_four(q: u32) -> vec4<u32> {
    let at = offsets(4u * q, u.broadcast.target_data);
    return vec4<u32>(target_data[at.x], target_data[at.y], target_data[at.z], target_data[at.w]);
}

fn load_target(fours: vec2<u32>) -> Eight {
    return Eight(target_four(fours.x), target_four(fours.y));
}

// How many of the four items from i on there are.
fn items_left(i: u32) -> u32 {
    return u.dispatch.item_count - min(i, u.dispatch.item_count);
}

fn store_input_four(i: u32, bits: vec4<u32>) {
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

fn store_grad_input(fours: vec2<u32>, bits: Eight) {
    store_input_four(4u * fours.x, bits.a);
    store_input_four(4u * fours.y, bits.b);
}
