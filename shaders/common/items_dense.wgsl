// Tensors of the items' own shape, four elements at a time. Linked where the number of items is a multiple of 4 and nothing is
// broadcast. The same interface stands in items_broadcast.wgsl.

@group(0) @binding(2) var<storage, read> expected: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> grad_second: array<vec4<u32>>;

fn load_input(i: u32) -> vec4<u32> {
    return read_quad(i >> 2u);
}

fn load_target(i: u32) -> vec4<u32> {
    return expected[i >> 2u];
}

fn store_grad_input(i: u32, bits: vec4<u32>) {
    write_quad(i >> 2u, bits);
}

fn store_grad_second(i: u32, bits: vec4<u32>) {
    grad_second[i >> 2u] = bits;
}
