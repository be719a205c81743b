// Rows of few classes: an invocation takes TILE rows, as many as begin and end at a four together, reads them once by fours, keeps
// them in registers and writes their gradients by fours. CLASSES is known when the kernel is made, so that every loop and every
// index below is.

override TILE: u32 = 1u;        // rows: 1, 2 or 4

fn tile_row(in_band: u32, number: u32) {
    tile_start = number * CLASSES;
    one_row(in_band + number, true);
}

fn whole_tile(in_band: u32) {
    let first = in_band * CLASSES / 4u;
    for (var k = 0u; k < TILE * CLASSES / 4u; k++) {
        let bits = read_four(first + k);
        tile[4u * k] = bits.x;
        tile[4u * k + 1u] = bits.y;
        tile[4u * k + 2u] = bits.z;
        tile[4u * k + 3u] = bits.w;
    }
    tile_row(in_band, 0u);
    if (TILE > 1u) {
        tile_row(in_band, 1u);
    }
    if (TILE > 2u) {
        tile_row(in_band, 2u);
        tile_row(in_band, 3u);
    }
    if (WANT_GRAD) {
        for (var k = 0u; k < TILE * CLASSES / 4u; k++) {
            write_four(first + k, vec4<u32>(tile[4u * k], tile[4u * k + 1u], tile[4u * k + 2u], tile[4u * k + 3u]));
        }
    }
}

@compute @workgroup_size(WORKGROUP)
fn rows(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let in_band = TILE * enter_rows(workgroup, invocation);
    if (in_band < u.dispatch.rows) {
        whole_tile(in_band);
    }
    finish_batch(invocation);
}
