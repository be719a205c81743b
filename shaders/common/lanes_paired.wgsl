// A lane takes two neighbouring quads: 16 bytes of elements of two, or 32 of four. C is a multiple of 8, so quads come in pairs.

fn block_quads(base: u32) -> vec4<u32> {
    return vec4<u32>(base + 2u * lane) + vec4<u32>(0u, 1u, 2u * LANES, 2u * LANES + 1u);
}

fn pair_quads(base: u32) -> vec2<u32> {
    return vec2<u32>(base + 2u * lane, base + 2u * lane + 1u);
}

fn load_pair(at: u32, quads: vec2<u32>) -> Pair {
    return read_pair((at >> 2u) + quads.x);
}

fn store_pair(at: u32, quads: vec2<u32>, pair: Pair) {
    write_pair((at >> 2u) + quads.x, pair);
}

fn store_some(at: u32, quads: vec2<u32>, pair: Pair, end: u32) {
    if (quads.x < end) {
        store_pair(at, quads, pair);
    }
}
