// The logits are read once and kept in workgroup memory for the gradient. A lane reads back only what it has kept itself, so
// nothing needs a barrier.

override KEPT: u32 = 256u;      // fours of a row

var<workgroup> kept: array<vec4<u32>, KEPT>;

fn keep_block(fours: vec4<u32>, block: Block) {
    keep(fours.x, block.a);
    keep(fours.y, block.b);
    keep(fours.z, block.c);
    keep(fours.w, block.d);
}

// The last block may reach beyond the row.
fn keep(four: u32, bits: vec4<u32>) {
    if (four < KEPT) {
        kept[four] = bits;
    }
}

fn cached(at: u32, fours: vec2<u32>) -> Eight {
    return Eight(kept[fours.x], kept[fours.y]);
}
