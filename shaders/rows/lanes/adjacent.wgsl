// Aligned eights: C is a multiple of 8 and the class axis last. A lane's two fours are neighbours: 16 bytes of elements of two, or 32 of
// four.

fn row_pairs(at: u32) -> u32 {
    return (class_count() + 8u * LANES - 1u) / (8u * LANES);
}

fn pair_classes(at: u32, p: u32) -> vec2<u32> {
    return vec2<u32>(8u * lane + 8u * LANES * p) + vec2<u32>(0u, 4u);
}

fn in_four() -> vec4<u32> {
    return IN_FOUR;
}

fn pair_of(at: u32, class_index: u32) -> u32 {
    return class_index / (8u * LANES);
}

const FIRST_PAIR_IS_WHOLE = true;

fn load_whole_pair(at: u32, p: u32) -> Eight {
    return read_eight((at >> 2u) + 2u * (lane + LANES * p));
}

fn load_pair(at: u32, p: u32) -> Eight {
    return read_eight((at + min(8u * (lane + LANES * p), class_count() - 8u)) >> 2u);
}

fn load_logit(at: u32, class_index: u32) -> u32 {
    return read_one(at + class_index);
}

fn store_whole_pair(at: u32, p: u32, bits: Eight) {
    write_eight((at >> 2u) + 2u * (lane + LANES * p), bits);
}

fn store_pair(at: u32, p: u32, bits: Eight) {
    if (8u * (lane + LANES * p) < class_count()) {
        store_whole_pair(at, p, bits);
    }
}
