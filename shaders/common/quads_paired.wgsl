// Rows whose quads come in aligned pairs: C is a multiple of 8 and the class axis last. Stores go by pairs: lanes_paired.wgsl.

// Four classes from 4 * quad on; all of them exist.
fn load_quad(at: u32, quad: u32) -> vec4<u32> {
    return read_quad((at >> 2u) + quad);
}

fn load_logit(at: u32, class_index: u32) -> u32 {
    return read_one(at + class_index);
}
