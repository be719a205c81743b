// A group of lanes walks along a row: sums over its quads, then the gradient of each. Quads `first` .. `end` may be the whole row or
// a part of it; a part that is not the last ends with a block of all lanes.

fn load_block(at: u32, quad: u32, whole: bool) -> Block {
    var q = quad + vec4<u32>(0u, LANES, 2u * LANES, 3u * LANES);
    let first = 4u * q;
    if (!whole) {
        q = min(q, vec4<u32>((u.frame.classes - 1u) / 4u));
    }
    let block = Block(load_quad(at, q.x), load_quad(at, q.y), load_quad(at, q.z), load_quad(at, q.w), first, whole);
    keep_block(quad, block);
    return block;
}

fn row_quads() -> u32 {
    return (u.frame.classes + 3u) / 4u;
}

fn sum_quads(row: Row, at: u32, first: u32, end: u32) -> Acc {
    var acc = acc_new();
    // Blocks that lie wholly inside the row: 16 classes per lane each.
    let whole = first + (min(end, u.frame.classes / 4u) - first) / (4u * LANES) * (4u * LANES);
    // Loops that leave at the end of their body: lavapipe runs a body once more, masked, where the test comes first.
    if (whole > first) {
        var q = first;
        loop {
            acc = acc_add(acc, row, load_block(at, q + lane, true));
            q += 4u * LANES;
            if (q >= whole) {
                break;
            }
        }
    }
    if (whole < end) {
        acc = acc_add(acc, row, load_block(at, whole + lane, false));
    }
    return acc;
}

// A second pass over the classes, for sums that need the first pass' result.
fn sum_again(row: Row, acc: Acc, at: u32, first: u32, end: u32) -> Again {
    var more = revisit_new();
    for (var q = first + lane; q < end; q += LANES) {
        more = revisit_add(more, row, acc, again(at, q), 4u * q);
    }
    return more;
}

fn store_gradients(row: Row, closed: Closed, at: u32, first: u32, end: u32) {
    // Two quads at a time: their loads overlap, and the loop costs half as much.
    let pairs = first + (end - first) / (2u * LANES) * (2u * LANES);
    if (pairs > first) {
        var q = first + lane;
        loop {
            let a = again(at, q);
            let b = again(at, q + LANES);
            store_gradient(row, closed, at, q, a);
            store_gradient(row, closed, at, q + LANES, b);
            q += 2u * LANES;
            if (q >= pairs) {
                break;
            }
        }
    }
    for (var q = pairs + lane; q < end; q += LANES) {
        store_gradient(row, closed, at, q, again(at, q));
    }
}

fn store_gradient(row: Row, closed: Closed, at: u32, quad: u32, bits: vec4<u32>) {
    if (WANT_GRAD) {
        store_quad(at, quad, gradient(row, closed, bits, 4u * quad));
    }
    if (WANT_GRAD_TARGET) {
        store_target_gradient(row, closed, at, bits, 4u * quad);
    }
}

fn store_zeros(at: u32, first: u32, end: u32) {
    for (var q = first + lane; q < end; q += LANES) {
        if (WANT_GRAD) {
            store_quad(at, q, vec4<u32>(0u));
        }
        for (var k = 0u; WANT_GRAD_TARGET && k < 4u; k++) {
            store_grad_target(at, 4u * q + k, 0u);
        }
    }
}
