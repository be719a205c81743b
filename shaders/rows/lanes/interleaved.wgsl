// Aligned fours: C is a multiple of 4 and the class axis last. Neighbouring lanes take neighbouring fours.
// The same interface stands in all files of this folder: a pair is two fours of a lane, and pair p of all lanes together covers 8 LANES
// neighbouring classes.

// How many pairs a row has.
fn row_pairs(at: u32) -> u32 {
    return (class_count() + 8u * LANES - 1u) / (8u * LANES);
}

// The first classes of the lane's two fours of pair p.
fn pair_classes(at: u32, p: u32) -> vec2<u32> {
    return vec2<u32>(4u * lane + 8u * LANES * p) + vec2<u32>(0u, 4u * LANES);
}

// Where the classes of a four lie, relative to the first.
fn in_four() -> vec4<u32> {
    return IN_FOUR;
}

// Which pair has a class.
fn pair_of(at: u32, class_index: u32) -> u32 {
    return class_index / (8u * LANES);
}

// Whether only a row's last pair may have classes that do not exist, and not its first.
const FIRST_PAIR_IS_WHOLE = true;

// All classes of the pair exist.
fn load_whole_pair(at: u32, p: u32) -> Eight {
    let q = (at >> 2u) + lane + 2u * LANES * p;
    return Eight(read_four(q), read_four(q + LANES));
}

// Classes past the row's end repeat others of the row.
fn load_pair(at: u32, p: u32) -> Eight {
    let j = min(pair_classes(at, p), vec2<u32>(class_count() - 4u));
    return Eight(read_four((at + j.x) >> 2u), read_four((at + j.y) >> 2u));
}

fn load_logit(at: u32, class_index: u32) -> u32 {
    return read_one(at + class_index);
}

fn store_whole_pair(at: u32, p: u32, bits: Eight) {
    let q = (at >> 2u) + lane + 2u * LANES * p;
    write_four(q, bits.a);
    write_four(q + LANES, bits.b);
}

// Only classes that exist.
fn store_pair(at: u32, p: u32, bits: Eight) {
    let j = pair_classes(at, p);
    if (j.x < class_count()) {
        write_four((at + j.x) >> 2u, bits.a);
    }
    if (j.y < class_count()) {
        write_four((at + j.y) >> 2u, bits.b);
    }
}
