// Rows of few classes: an invocation takes TILE rows, as many as begin and end at a four together, reads them once by fours, keeps
// them in registers and writes their gradients by fours. CLASSES is known when the kernel is made, so that every loop and every
// index below is.

override TILE: u32 = 1u;        // rows: 1, 2 or 4

// Logits, then gradients. At most 64: TILE * CLASSES.
var<private> tile: array<u32, 64>;

fn tile_four(start: u32, j: u32) -> vec4<u32> {
    let i = min(vec4<u32>(j) + IN_FOUR, vec4<u32>(CLASSES - 1u)) + start;
    return vec4<u32>(tile[i.x], tile[i.y], tile[i.z], tile[i.w]);
}

fn add_block(acc: Acc, row: Row, start: u32, j: u32) -> Acc {
    let first = vec4<u32>(j, j + 4u, j + 8u, j + 12u);
    return acc_add(acc, row, Block(
        tile_four(start, first.x), tile_four(start, first.y), tile_four(start, first.z), tile_four(start, first.w),
        first, false));
}

fn keep_gradient(start: u32, j: u32, bits: vec4<u32>) {
    tile[start + j] = bits.x;
    if (j + 1u < CLASSES) {
        tile[start + j + 1u] = bits.y;
    }
    if (j + 2u < CLASSES) {
        tile[start + j + 2u] = bits.z;
    }
    if (j + 3u < CLASSES) {
        tile[start + j + 3u] = bits.w;
    }
}

fn tile_row(in_band: u32, number: u32) {
    let index = u.dispatch.first_row + in_band + number;
    let at = (in_band + number) * CLASSES;
    let start = number * CLASSES;
    let row = open_row(index, at);
    let skipped = skips_row(row);
    var acc = acc_new();
    if (ACCUMULATES) {
        // Not a loop: its body is long enough for compilers to leave it rolled, and then no index is known.
        acc = add_block(acc, row, start, 0u);
        if (CLASSES > 16u) {
            acc = add_block(acc, row, start, 16u);
        }
        if (CLASSES > 32u) {
            acc = add_block(acc, row, start, 32u);
            acc = add_block(acc, row, start, 48u);
        }
    }
    acc = acc_join(acc);
    if (HAS_SECOND_PASS) {
        var more = second_pass_new();
        for (var j = 0u; j < CLASSES; j += 4u) {
            more = second_pass_add(more, row, acc, tile_four(start, j), j);
        }
        acc = second_pass_join(acc, more);
    }
    let result = finish_row(index, row, skipped, acc, true);
    if (WANT_GRAD || WANT_GRAD_TARGET) {
        for (var j = 0u; j < CLASSES; j += 4u) {
            let bits = tile_four(start, j);
            if (WANT_GRAD_TARGET) {
                store_target_gradient(row, result, at, bits, j);
            }
            keep_gradient(start, j, select(gradient(row, result, bits, j), vec4<u32>(0u), skipped));
        }
    }
}

fn whole_tile(in_band: u32) {
    denominator = batch_denominator();
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
