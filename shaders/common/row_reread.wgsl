// The logits are read a second time for the gradient: from a cache of the device, if the row fits one.

fn keep_block(quads: vec4<u32>, block: Block) {
}

fn again(at: u32, quads: vec2<u32>) -> Pair {
    return load_pair(at, quads);
}
