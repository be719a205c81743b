// A lane takes two neighbouring fours: 16 bytes of elements of two, or 32 of four. C is a multiple of 8, so fours come in eights.

fn block_fours(base: u32) -> vec4<u32> {
    return vec4<u32>(base + 2u * lane) + vec4<u32>(0u, 1u, 2u * LANES, 2u * LANES + 1u);
}

fn eight_fours(base: u32) -> vec2<u32> {
    return vec2<u32>(base + 2u * lane, base + 2u * lane + 1u);
}

fn load_eight(at: u32, fours: vec2<u32>) -> Eight {
    return read_eight((at >> 2u) + fours.x);
}

fn store_eight(at: u32, fours: vec2<u32>, bits: Eight) {
    write_eight((at >> 2u) + fours.x, bits);
}

fn store_eight_before(at: u32, fours: vec2<u32>, bits: Eight, end: u32) {
    if (fours.x < end) {
        store_eight(at, fours, bits);
    }
}
