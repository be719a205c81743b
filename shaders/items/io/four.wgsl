// Tensors of the items' own shape, by aligned fours; their number is a multiple of 4 and nothing is broadcast. The same interface
// stands in items/io/eight.wgsl and items/io/one.wgsl: a lane takes two fours of items, of which the second may be past the last.

@group(0) @binding(2) var<storage, read> target_data: array<Bytes16>;

// Neighbouring lanes take neighbouring fours. The lane's first one from four `start` on, and the two of a step from q on.
fn lane_start(start: u32) -> u32 {
    return start + lane;
}

fn lane_fours(q: u32) -> vec2<u32> {
    return vec2<u32>(q, q + LANES);
}

fn load_input(fours: vec2<u32>) -> Eight {
    return Eight(read_four(fours.x), read_four(min(fours.y, last_four())));
}

fn load_target(fours: vec2<u32>) -> Eight {
    return Eight(words4(target_data[fours.x]), words4(target_data[min(fours.y, last_four())]));
}

fn store_grad_input(fours: vec2<u32>, bits: Eight) {
    write_four(fours.x, bits.a);
    if (fours.y <= last_four()) {
        write_four(fours.y, bits.b);
    }
}
