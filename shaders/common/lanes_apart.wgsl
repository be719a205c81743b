// Neighbouring lanes take neighbouring quads: for elements of four bytes, whose quads are 16, and for any C.
// The same interface stands in lanes_paired.wgsl.

// The quads of a block of all lanes from quad `base` on that are this lane's.
fn block_quads(base: u32) -> vec4<u32> {
    return vec4<u32>(base + lane) + vec4<u32>(0u, LANES, 2u * LANES, 3u * LANES);
}

// The same of half a block.
fn pair_quads(base: u32) -> vec2<u32> {
    return vec2<u32>(base + lane, base + lane + LANES);
}

fn load_pair(at: u32, quads: vec2<u32>) -> Pair {
    return Pair(load_quad(at, quads.x), load_quad(at, quads.y));
}

fn store_pair(at: u32, quads: vec2<u32>, pair: Pair) {
    store_quad(at, quads.x, pair.a);
    store_quad(at, quads.y, pair.b);
}

// Of the quads only those before `end`.
fn store_some(at: u32, quads: vec2<u32>, pair: Pair, end: u32) {
    if (quads.x < end) {
        store_quad(at, quads.x, pair.a);
    }
    if (quads.y < end) {
        store_quad(at, quads.y, pair.b);
    }
}
