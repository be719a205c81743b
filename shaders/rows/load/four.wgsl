// Rows whose fours are aligned: C is a multiple of 4 and the class axis last. Four neighbouring classes at a time.
// `at` is the element of class 0.

// Four classes from 4 * four on; all of them exist.
fn load_four(at: u32, four: u32) -> vec4<u32> {
    return read_four((at >> 2u) + four);
}

fn load_logit(at: u32, class_index: u32) -> u32 {
    return read_one(at + class_index);
}

fn store_four(at: u32, four: u32, bits: vec4<u32>) {
    write_four((at >> 2u) + four, bits);
}
