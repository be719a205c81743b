// Any C, and any distance between two classes (class axis not last: in place). Neighbouring lanes take neighbouring classes, so that a
// group reads and writes whole lines of memory wherever a row begins: the classes of a four are LANES apart.

fn row_pairs(at: u32) -> u32 {
    return (class_count() + 8u * LANES - 1u) / (8u * LANES);
}

fn pair_classes(at: u32, p: u32) -> vec2<u32> {
    return vec2<u32>(lane + 8u * LANES * p) + vec2<u32>(0u, 4u * LANES);
}

fn in_four() -> vec4<u32> {
    return vec4<u32>(0u, LANES, 2u * LANES, 3u * LANES);
}

fn pair_of(at: u32, class_index: u32) -> u32 {
    return class_index / (8u * LANES);
}

const FIRST_PAIR_IS_WHOLE = true;

fn load_classes(at: u32, classes: vec4<u32>) -> vec4<u32> {
    let i = classes * u.dispatch.inner + at;
    return vec4<u32>(read_one(i.x), read_one(i.y), read_one(i.z), read_one(i.w));
}

fn load_whole_pair(at: u32, p: u32) -> Eight {
    let j = pair_classes(at, p);
    return Eight(load_classes(at, classes_of(j.x)), load_classes(at, classes_of(j.y)));
}

fn load_pair(at: u32, p: u32) -> Eight {
    let j = pair_classes(at, p);
    let last = vec4<u32>(class_count() - 1u);
    return Eight(load_classes(at, min(classes_of(j.x), last)), load_classes(at, min(classes_of(j.y), last)));
}

fn load_logit(at: u32, class_index: u32) -> u32 {
    return read_one(at + class_index * u.dispatch.inner);
}

fn store_whole_four(at: u32, j: u32, bits: vec4<u32>) {
    let i = classes_of(j) * u.dispatch.inner + at;
    write_one(i.x, bits.x);
    write_one(i.y, bits.y);
    write_one(i.z, bits.z);
    write_one(i.w, bits.w);
}

fn store_whole_pair(at: u32, p: u32, bits: Eight) {
    let j = pair_classes(at, p);
    store_whole_four(at, j.x, bits.a);
    store_whole_four(at, j.y, bits.b);
}

fn store_four(at: u32, j: u32, bits: vec4<u32>) {
    let i = classes_of(j) * u.dispatch.inner + at;
    let exists = exist_of(j);
    if (exists.x) {
        write_one(i.x, bits.x);
    }
    if (exists.y) {
        write_one(i.y, bits.y);
    }
    if (exists.z) {
        write_one(i.z, bits.z);
    }
    if (exists.w) {
        write_one(i.w, bits.w);
    }
}

fn store_pair(at: u32, p: u32, bits: Eight) {
    let j = pair_classes(at, p);
    store_four(at, j.x, bits.a);
    store_four(at, j.y, bits.b);
}
