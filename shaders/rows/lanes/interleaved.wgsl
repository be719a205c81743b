// Neighbouring lanes take neighbouring fours: for elements of four bytes, whose fours are 16, and for any C.

// Which fours of a block of all lanes are this lane's; the block begins at four `base`.
fn block_fours(base: u32) -> vec4<u32> {
    return vec4<u32>(base + lane) + vec4<u32>(0u, LANES, 2u * LANES, 3u * LANES);
}

// The same of half a block: two fours.
fn eight_fours(base: u32) -> vec2<u32> {
    return vec2<u32>(base + lane, base + lane + LANES);
}

fn load_eight(at: u32, fours: vec2<u32>) -> Eight {
    return Eight(load_four(at, fours.x), load_four(at, fours.y));
}

fn store_eight(at: u32, fours: vec2<u32>, bits: Eight) {
    store_four(at, fours.x, bits.a);
    store_four(at, fours.y, bits.b);
}

// Of the fours only those before `end`.
fn store_eight_before(at: u32, fours: vec2<u32>, bits: Eight, end: u32) {
    if (fours.x < end) {
        store_four(at, fours.x, bits.a);
    }
    if (fours.y < end) {
        store_four(at, fours.y, bits.b);
    }
}
