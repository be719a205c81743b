// A group of lanes walks along a row: sums over its quads, then the gradient of each. Quads `first` .. `end` may be the whole row or
// a part of it; a part that is not the last ends with a block of all lanes.

fn load_block(at: u32, base: u32, whole: bool) -> Block {
    let quads = block_quads(base);
    var q = quads;
    if (!whole) {
        q = min(q, vec4<u32>((u.frame.classes - 1u) / 4u));
    }
    let x = load_pair(at, q.xy);
    let y = load_pair(at, q.zw);
    let block = Block(x.a, x.b, y.a, y.b, 4u * quads, whole);
    keep_block(quads, block);
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
            acc = acc_add(acc, row, load_block(at, q, true));
            q += 4u * LANES;
            if (q >= whole) {
                break;
            }
        }
    }
    if (whole < end) {
        acc = acc_add(acc, row, load_block(at, whole, false));
    }
    return acc;
}

// A second pass over the classes, for sums that need the first pass' result.
fn sum_again(row: Row, acc: Acc, at: u32, first: u32, end: u32) -> Again {
    var more = revisit_new();
    for (var base = first; base < end; base += 2u * LANES) {
        let quads = pair_quads(base);
        let pair = again(at, min(quads, vec2<u32>(end - 1u)));
        if (quads.x < end) {
            more = revisit_add(more, row, acc, pair.a, 4u * quads.x);
        }
        if (quads.y < end) {
            more = revisit_add(more, row, acc, pair.b, 4u * quads.y);
        }
    }
    return more;
}

fn store_gradients(row: Row, closed: Closed, at: u32, first: u32, end: u32) {
    // Two quads at a time: their loads overlap, and the loop costs half as much.
    let whole = first + (end - first) / (2u * LANES) * (2u * LANES);
    if (whole > first) {
        var base = first;
        loop {
            let quads = pair_quads(base);
            let bits = again(at, quads);
            if (WANT_GRAD) {
                store_pair(at, quads, gradients(row, closed, bits, quads));
            }
            if (WANT_GRAD_TARGET) {
                store_target_gradient(row, closed, at, bits.a, 4u * quads.x);
                store_target_gradient(row, closed, at, bits.b, 4u * quads.y);
            }
            base += 2u * LANES;
            if (base >= whole) {
                break;
            }
        }
    }
    let quads = pair_quads(whole);
    if (quads.x < end) {
        let bits = again(at, min(quads, vec2<u32>(end - 1u)));
        if (WANT_GRAD) {
            store_some(at, quads, gradients(row, closed, bits, quads), end);
        }
        if (WANT_GRAD_TARGET) {
            store_target_gradient(row, closed, at, bits.a, 4u * quads.x);
            store_target_gradient(row, closed, at, bits.b, 4u * quads.y);
        }
    }
}

fn gradients(row: Row, closed: Closed, bits: Pair, quads: vec2<u32>) -> Pair {
    return Pair(gradient(row, closed, bits.a, 4u * quads.x), gradient(row, closed, bits.b, 4u * quads.y));
}

fn store_zeros(at: u32, first: u32, end: u32) {
    for (var base = first; base < end; base += 2u * LANES) {
        let quads = pair_quads(base);
        if (WANT_GRAD) {
            store_some(at, quads, Pair(vec4<u32>(0u), vec4<u32>(0u)), end);
        }
        if (WANT_GRAD_TARGET) {
            store_grad_target(at, 4u * quads.x, vec4<u32>(0u));
            store_grad_target(at, 4u * quads.y, vec4<u32>(0u));
        }
    }
}
