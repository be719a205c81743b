// Rows of a tile: consecutive rows that together begin and end at a four, though each alone may not. The tile is read and written
// by aligned fours (rows/driver/tile.wgsl); this is for the few logits that are looked up besides.

// Classes past the last one repeat the last one.
fn load_four(at: u32, four: u32) -> vec4<u32> {
    let j = min(vec4<u32>(4u * four) + IN_FOUR, vec4<u32>(u.dispatch.classes - 1u)) + at;
    return vec4<u32>(read_one(j.x), read_one(j.y), read_one(j.z), read_one(j.w));
}

fn load_logit(at: u32, class_index: u32) -> u32 {
    return read_one(at + class_index);
}
