// The second input or the mask, of the items' own shape, by aligned quads: where the input and the target are read so.
// The same interface stands in second_broadcast.wgsl.

@group(0) @binding(9) var<storage, read> second: array<Bytes16>;

fn load_second(i: u32) -> vec4<u32> {
    return words4(second[min(i >> 2u, last_quad())]);
}
