// The logits are read once and kept in workgroup memory for the gradient. A lane reads back only what it has kept itself, so
// nothing needs a barrier.

override KEPT: u32 = 256u;      // quads of a row

var<workgroup> kept: array<vec4<u32>, KEPT>;

fn keep_block(quad: u32, block: Block) {
    keep(quad, block.a);
    keep(quad + LANES, block.b);
    keep(quad + 2u * LANES, block.c);
    keep(quad + 3u * LANES, block.d);
}

// The last block may reach beyond the row.
fn keep(quad: u32, bits: vec4<u32>) {
    if (quad < KEPT) {
        kept[quad] = bits;
    }
}

fn again(at: u32, quad: u32) -> vec4<u32> {
    return kept[quad];
}
