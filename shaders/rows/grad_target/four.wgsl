// The gradient of the target's values, written by aligned fours: C is a multiple of 4 and the class axis last.

const WANT_GRAD_TARGET = true;

@group(0) @binding(12) var<storage, read_write> grad_target: array<Bytes16>;

// Of four neighbouring classes, unless they lie past the row's end.
fn store_grad_target(at: u32, classes: vec4<u32>, bits: vec4<u32>) {
    if (classes.x < class_count()) {
        grad_target[(at + classes.x) >> 2u] = bytes16(bits);
    }
}
