// Any C with 16-bit logits and gradients, class axis last. Neighbouring lanes take neighbouring words of two elements. Where a row begins
// or ends in the middle of a word, that word is another row's too: each writes its own half.

// 1 where the row begins with the second half of a word.
fn row_shift(at: u32) -> u32 {
    return at & 1u;
}

fn row_pairs(at: u32) -> u32 {
    return (class_count() + row_shift(at) + 8u * LANES - 1u) / (8u * LANES);
}

// Of a row that begins with a second half, lane 0's first class is the one before class 0: a huge number.
fn pair_classes(at: u32, p: u32) -> vec2<u32> {
    return vec2<u32>(2u * lane + 8u * LANES * p - row_shift(at)) + vec2<u32>(0u, 4u * LANES);
}

fn in_four() -> vec4<u32> {
    return vec4<u32>(0u, 1u, 2u * LANES, 2u * LANES + 1u);
}

fn pair_of(at: u32, class_index: u32) -> u32 {
    return (class_index + row_shift(at)) / (8u * LANES);
}

const FIRST_PAIR_IS_WHOLE = false;

fn load_whole_pair(at: u32, p: u32) -> Eight {
    let w = (at >> 1u) + lane + 4u * LANES * p;
    return Eight(
        vec4<u32>(read_two(w), read_two(w + LANES)),
        vec4<u32>(read_two(w + 2u * LANES), read_two(w + 3u * LANES)),
    );
}

// The half of a word that is not this row's repeats the other.
fn load_two(w: u32, j: u32) -> vec2<u32> {
    let two = read_two(w);
    let last = class_count() - 1u;
    return select(two, two.yx, vec2<bool>(j > last, j + 1u > last));
}

// Words past the row's end repeat its last one.
fn load_four(at: u32, j: u32) -> vec4<u32> {
    let c = class_count();
    let shift = row_shift(at);
    let last = (c - 1u + shift) >> 1u;
    let first = (j + shift) >> 1u;
    let w = min(vec2<u32>(first, first + LANES), vec2<u32>(last));
    let base = at >> 1u;
    return vec4<u32>(load_two(base + w.x, 2u * w.x - shift), load_two(base + w.y, 2u * w.y - shift));
}

fn load_pair(at: u32, p: u32) -> Eight {
    let j = pair_classes(at, p);
    return Eight(load_four(at, j.x), load_four(at, j.y));
}

fn load_logit(at: u32, class_index: u32) -> u32 {
    return read_one(at + class_index);
}

fn store_whole_pair(at: u32, p: u32, bits: Eight) {
    let w = (at >> 1u) + lane + 4u * LANES * p;
    write_word(w, bits.a.xy);
    write_word(w + LANES, bits.a.zw);
    write_word(w + 2u * LANES, bits.b.xy);
    write_word(w + 3u * LANES, bits.b.zw);
}

fn store_two(at: u32, j: u32, bits: vec2<u32>) {
    let c = class_count();
    if ((j < c) & (j + 1u < c)) {
        write_word((at + j) >> 1u, bits);
    } else if (j < c) {
        write_one(at + j, bits.x);
    } else if (j + 1u < c) {
        write_one(at + j + 1u, bits.y);
    }
}

fn store_pair(at: u32, p: u32, bits: Eight) {
    let j = pair_classes(at, p);
    store_two(at, j.x, bits.a.xy);
    store_two(at, j.x + 2u * LANES, bits.a.zw);
    store_two(at, j.y, bits.b.xy);
    store_two(at, j.y + 2u * LANES, bits.b.zw);
}
