// Tensors of the items' own shape, by aligned fours; their number is a multiple of 4 and nothing is broadcast. The same interface
// stands in items/io/eight.wgsl and items/io/one.wgsl: a lane takes two fours of items, which may be past the last unless WHOLE.

@group(0) @binding(2) var<storage, read> target_data: array<Bytes16>;

// Neighbouring lanes take neighbouring fours. The lane's first one from four `start` on, and the two of a step from q on.
fn lane_start(start: u32) -> u32 {
    return start + lane;
}

fn lane_fours(q: u32) -> vec2<u32> {
    return vec2<u32>(q, q + LANES);
}

fn bounded(fours: vec2<u32>) -> vec2<u32> {
    return select(min(fours, vec2<u32>(last_four())), fours, WHOLE);
}

fn load_input(fours: vec2<u32>) -> Eight {
    let at = bounded(fours);
    return Eight(read_four(at.x), read_four(at.y));
}

fn load_target(fours: vec2<u32>) -> Eight {
    let at = bounded(fours);
    return Eight(words4(target_data[at.x]), words4(target_data[at.y]));
}

fn store_grad_input(fours: vec2<u32>, bits: Eight) {
    if (WHOLE | (fours.x <= last_four())) {
        write_four(fours.x, bits.a);
    }
    if (WHOLE | (fours.y <= last_four())) {
        write_four(fours.y, bits.b);
    }
}
