// Tensors of the items' own shape, by aligned quads; their number is a multiple of 4 and nothing is broadcast. The same interface
// stands in items_pairs.wgsl and items_broadcast.wgsl: a lane takes two quads of items, of which the second may be past the last.

@group(0) @binding(2) var<storage, read> expected: array<Bytes16>;
@group(0) @binding(6) var<storage, read_write> grad_second: array<Bytes16>;

// Neighbouring lanes take neighbouring quads. The lane's first one from quad `start` on, and the two of a step from q on.
fn lane_start(start: u32) -> u32 {
    return start + lane;
}

fn lane_quads(q: u32) -> vec2<u32> {
    return vec2<u32>(q, q + LANES);
}

fn load_input(quads: vec2<u32>) -> Pair {
    return Pair(read_quad(quads.x), read_quad(min(quads.y, last_quad())));
}

fn load_target(quads: vec2<u32>) -> Pair {
    return Pair(words4(expected[quads.x]), words4(expected[min(quads.y, last_quad())]));
}

fn store_grad_input(quads: vec2<u32>, bits: Pair) {
    write_quad(quads.x, bits.a);
    if (quads.y <= last_quad()) {
        write_quad(quads.y, bits.b);
    }
}

fn store_grad_second(quads: vec2<u32>, bits: Pair) {
    grad_second[quads.x] = bytes16(bits.a);
    if (quads.y <= last_quad()) {
        grad_second[quads.y] = bytes16(bits.b);
    }
}
