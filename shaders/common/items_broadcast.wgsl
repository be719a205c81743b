// Tensors that broadcast to the items' shape, read in place; any number of items.

@group(0) @binding(2) var<storage, read> expected: array<u32>;
@group(0) @binding(6) var<storage, read_write> grad_second: array<u32>;

fn load_input(i: u32) -> vec4<u32> {
    let at = offsets(i, u.broadcast.input);
    return vec4<u32>(read_one(at.x), read_one(at.y), read_one(at.z), read_one(at.w));
}

fn load_target(i: u32) -> vec4<u32> {
    let at = offsets(i, u.broadcast.expected);
    return vec4<u32>(expected[at.x], expected[at.y], expected[at.z], expected[at.w]);
}

fn store_grad_input(i: u32, bits: vec4<u32>) {
    let left = u.frame.item_count - i;
    write_one(i, bits.x);
    if (left > 1u) {
        write_one(i + 1u, bits.y);
    }
    if (left > 2u) {
        write_one(i + 2u, bits.z);
    }
    if (left > 3u) {
        write_one(i + 3u, bits.w);
    }
}

fn store_grad_second(i: u32, bits: vec4<u32>) {
    let left = u.frame.item_count - i;
    grad_second[i] = bits.x;
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
