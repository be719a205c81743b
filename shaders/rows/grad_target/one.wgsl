// The gradient of the target's values, written one at a time: for any C and any distance between two classes.

const WANT_GRAD_TARGET = true;

@group(0) @binding(12) var<storage, read_write> grad_target: array<u32>;

// Of those of four classes that exist.
fn store_grad_target(at: u32, classes: vec4<u32>, bits: vec4<u32>) {
    let i = classes * u.dispatch.inner + at;
    let exists = classes < vec4<u32>(class_count());
    if (exists.x) {
        grad_target[i.x] = bits.x;
    }
    if (exists.y) {
        grad_target[i.y] = bits.y;
    }
    if (exists.z) {
        grad_target[i.z] = bits.z;
    }
    if (exists.w) {
        grad_target[i.w] = bits.w;
    }
}
