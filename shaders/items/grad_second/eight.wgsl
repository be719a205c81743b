// The gradient of the second input or of the target, by aligned eights: as items/io/eight.wgsl.

const WANT_GRAD_SECOND = true;

@group(0) @binding(11) var<storage, read_write> grad_second: array<Bytes32>;

fn store_grad_second(fours: vec2<u32>, bits: Eight) {
    if (WHOLE | (fours.x <= last_four())) {
        grad_second[fours.x >> 1u] = bytes32(bits);
    }
}
