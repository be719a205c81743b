// Eight neighbouring elements of the input, for any number of them; those past the last repeat it.

fn input_four(i: u32) -> vec4<u32> {
    let k = min(vec4<u32>(i) + IN_QUAD, vec4<u32>(u.frame.item_count - 1u));
    return vec4<u32>(read_one(k.x), read_one(k.y), read_one(k.z), read_one(k.w));
}

fn input_eight(i: u32) -> Pair {
    return Pair(input_four(i), input_four(i + 4u));
}
