// The gradient of the target's values, written one at a time: for any C and any distance between two classes.

const WANT_GRAD_TARGET = true;

@group(0) @binding(12) var<storage, read_write> grad_target: array<u32>;

// Of classes j .. j + 3, as far as there are such.
fn store_grad_target(at: u32, j: u32, bits: vec4<u32>) {
    let element = at + j * u.dispatch.inner;
    if (j < class_count()) {
        grad_target[element] = bits.x;
    }
    if (j + 1u < class_count()) {
        grad_target[element + u.dispatch.inner] = bits.y;
    }
    if (j + 2u < class_count()) {
        grad_target[element + 2u * u.dispatch.inner] = bits.z;
    }
    if (j + 3u < class_count()) {
        grad_target[element + 3u * u.dispatch.inner] = bits.w;
    }
}
