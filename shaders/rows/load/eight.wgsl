// Rows whose fours come in aligned eights: C is a multiple of 8 and the class axis last. Stores go by eights: rows/lanes/adjacent.wgsl.

// Four classes from 4 * four on; all of them exist.
fn load_four(at: u32, four: u32) -> vec4<u32> {
    return read_four((at >> 2u) + four);
}

fn load_logit(at: u32, class_index: u32) -> u32 {
    return read_one(at + class_index);
}
