// The gradient of the target's values, one per class.

const WANT_GRAD_TARGET = true;

@group(0) @binding(6) var<storage, read_write> grad_target: array<u32>;

fn store_grad_target(at: u32, j: u32, bits: u32) {
    if (j < u.frame.classes) {
        grad_target[at + j * u.frame.inner] = bits;
    }
}
