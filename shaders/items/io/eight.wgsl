// Tensors of the items' own shape, by eights of aligned fours; their number is a multiple of 8 and nothing is broadcast.

@group(0) @binding(2) var<storage, read> target_data: array<Bytes32>;

// A lane takes neighbouring fours.
fn lane_start(start: u32) -> u32 {
    return start + 2u * lane;
}

fn lane_fours(q: u32) -> vec2<u32> {
    return vec2<u32>(q, q + 1u);
}

// Of both fours the first, or the first of the last eight.
fn bounded(fours: vec2<u32>) -> u32 {
    return select(min(fours.x, last_four() - 1u), fours.x, WHOLE);
}

fn load_input(fours: vec2<u32>) -> Eight {
    return read_eight(bounded(fours));
}

fn load_target(fours: vec2<u32>) -> Eight {
    return words8(target_data[bounded(fours) >> 1u]);
}

fn store_grad_input(fours: vec2<u32>, bits: Eight) {
    if (WHOLE | (fours.x <= last_four())) {
        write_eight(fours.x, bits);
    }
}
