// The logits are read a second time for the gradient: from a cache of the device, if the row fits one.

fn keep_block(fours: vec4<u32>, block: Block) {
}

fn cached(at: u32, fours: vec2<u32>) -> Eight {
    return load_eight(at, fours);
}
