// The gradient of the second input or of the target, one element at a time; any number of items.

const WANT_GRAD_SECOND = true;

@group(0) @binding(11) var<storage, read_write> grad_second: array<u32>;

fn store_second_four(i: u32, bits: vec4<u32>) {
    let left = items_left(i);
    if (left > 0u) {
        grad_second[i] = bits.x;
    }
    if (left > 1u) {
        grad_second[i + 1u] = bits.y;
    }
    if (left > 2u) {
        grad_second[i + 2u] = bits.z;
    }
    if (left > 3u) {
        grad_second[i + 3u] = bits.w;
    }
}

fn store_grad_second(fours: vec2<u32>, bits: Eight) {
    store_second_four(4u * fours.x, bits.a);
    store_second_four(4u * fours.y, bits.b);
}
