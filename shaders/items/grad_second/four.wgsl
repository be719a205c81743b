// The gradient of the second input or of the target, by aligned fours: as items/io/four.wgsl.

const WANT_GRAD_SECOND = true;

@group(0) @binding(11) var<storage, read_write> grad_second: array<Bytes16>;

fn store_grad_second(fours: vec2<u32>, bits: Eight) {
    if (WHOLE | (fours.x <= last_four())) {
        grad_second[fours.x] = bytes16(bits.a);
    }
    if (WHOLE | (fours.y <= last_four())) {
        grad_second[fours.y] = bytes16(bits.b);
    }
}
