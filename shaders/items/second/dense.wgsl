// The second input or the mask, of the items' own shape, by aligned fours: where the input and the target are read so.

const HAS_SECOND = true;

@group(0) @binding(5) var<storage, read> second: array<Bytes16>;

fn load_second(i: u32) -> vec4<u32> {
    return words4(second[min(i >> 2u, last_four())]);
}
