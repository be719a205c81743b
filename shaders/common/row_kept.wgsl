// The logits are read once and kept in workgroup memory for the gradient. A lane reads back only what it has kept itself, so
// nothing needs a barrier.

override KEPT: u32 = 256u;      // quads of a row

var<workgroup> kept: array<vec4<u32>, KEPT>;

fn keep_block(quads: vec4<u32>, block: Block) {
    keep(quads.x, block.a);
    keep(quads.y, block.b);
    keep(quads.z, block.c);
    keep(quads.w, block.d);
}

// The last block may reach beyond the row.
fn keep(quad: u32, bits: vec4<u32>) {
    if (quad < KEPT) {
        kept[quad] = bits;
    }
}

fn again(at: u32, quads: vec2<u32>) -> Pair {
    return Pair(kept[quads.x], kept[quads.y]);
}
