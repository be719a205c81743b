// The input as f32, one element at a time, at any place.

@group(0) @binding(1) var<storage, read> input: array<u32>;

fn read_one(i: u32) -> u32 {
    return input[i];
}
