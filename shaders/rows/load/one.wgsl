// Rows read and written one logit at a time, for any C and any distance between two classes (class axis not last: in place).

// Classes past the last one repeat the last one.
fn load_four(at: u32, four: u32) -> vec4<u32> {
    let j = min(vec4<u32>(4u * four) + IN_FOUR, vec4<u32>(u.dispatch.classes - 1u)) * u.dispatch.inner + at;
    return vec4<u32>(read_one(j.x), read_one(j.y), read_one(j.z), read_one(j.w));
}

fn load_logit(at: u32, class_index: u32) -> u32 {
    return read_one(at + class_index * u.dispatch.inner);
}

fn store_four(at: u32, four: u32, bits: vec4<u32>) {
    let j = 4u * four;
    let element = at + j * u.dispatch.inner;
    let left = u.dispatch.classes - j;
    write_one(element, bits.x);
    if (left > 1u) {
        write_one(element + u.dispatch.inner, bits.y);
    }
    if (left > 2u) {
        write_one(element + 2u * u.dispatch.inner, bits.z);
    }
    if (left > 3u) {
        write_one(element + 3u * u.dispatch.inner, bits.w);
    }
}
