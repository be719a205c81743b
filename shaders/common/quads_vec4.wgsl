// Rows whose quads are aligned: C is a multiple of 4 and the class axis last. Four neighbouring classes at a time.
// The same interface stands in quads_scalar.wgsl. `at` is the element of class 0.

// Four classes from 4 * quad on; all of them exist.
fn load_quad(at: u32, quad: u32) -> vec4<u32> {
    return read_quad((at >> 2u) + quad);
}

fn load_logit(at: u32, class_index: u32) -> u32 {
    return read_one(at + class_index);
}

fn store_quad(at: u32, quad: u32, bits: vec4<u32>) {
    write_quad((at >> 2u) + quad, bits);
}
