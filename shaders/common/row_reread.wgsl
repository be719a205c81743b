// The logits are read a second time for the gradient: from a cache of the device, if the row fits one.

fn keep_block(quad: u32, block: Block) {
}

fn again(at: u32, quad: u32) -> vec4<u32> {
    return load_quad(at, quad);
}
