// A group of lanes walks along a row: sums over its fours, then the gradient of each. Fours `first` .. `end` may be the whole row or
// a part of it; a part that is not the last ends with a block of all lanes.

fn load_block(at: u32, base: u32, whole: bool) -> Block {
    let fours = block_fours(base);
    var q = fours;
    if (!whole) {
        q = min(q, vec4<u32>((u.dispatch.classes - 1u) / 4u));
    }
    let x = load_eight(at, q.xy);
    let y = load_eight(at, q.zw);
    let block = Block(x.a, x.b, y.a, y.b, 4u * fours, whole);
    keep_block(fours, block);
    return block;
}

fn row_fours() -> u32 {
    return (u.dispatch.classes + 3u) / 4u;
}

fn sum_fours(row: Row, at: u32, first: u32, end: u32) -> Acc {
    var acc = acc_new();
    // Blocks that lie wholly inside the row: 16 classes per lane each.
    let whole = first + (min(end, u.dispatch.classes / 4u) - first) / (4u * LANES) * (4u * LANES);
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
fn sum_second_pass(row: Row, acc: Acc, at: u32, first: u32, end: u32) -> SecondPass {
    var more = second_pass_new();
    for (var base = first; base < end; base += 2u * LANES) {
        let fours = eight_fours(base);
        let bits = cached(at, min(fours, vec2<u32>(end - 1u)));
        if (fours.x < end) {
            more = second_pass_add(more, row, acc, bits.a, 4u * fours.x);
        }
        if (fours.y < end) {
            more = second_pass_add(more, row, acc, bits.b, 4u * fours.y);
        }
    }
    return more;
}

fn store_gradients(row: Row, result: RowResult, at: u32, first: u32, end: u32) {
    // Two fours at a time: their loads overlap, and the loop costs half as much.
    let whole = first + (end - first) / (2u * LANES) * (2u * LANES);
    if (whole > first) {
        var base = first;
        loop {
            let fours = eight_fours(base);
            let bits = cached(at, fours);
            if (WANT_GRAD) {
                store_eight(at, fours, gradients(row, result, bits, fours));
            }
            if (WANT_GRAD_TARGET) {
                store_target_gradient(row, result, at, bits.a, 4u * fours.x);
                store_target_gradient(row, result, at, bits.b, 4u * fours.y);
            }
            base += 2u * LANES;
            if (base >= whole) {
                break;
            }
        }
    }
    let fours = eight_fours(whole);
    if (fours.x < end) {
        let bits = cached(at, min(fours, vec2<u32>(end - 1u)));
        if (WANT_GRAD) {
            store_eight_before(at, fours, gradients(row, result, bits, fours), end);
        }
        if (WANT_GRAD_TARGET) {
            store_target_gradient(row, result, at, bits.a, 4u * fours.x);
            store_target_gradient(row, result, at, bits.b, 4u * fours.y);
        }
    }
}

fn gradients(row: Row, result: RowResult, bits: Eight, fours: vec2<u32>) -> Eight {
    return Eight(gradient(row, result, bits.a, 4u * fours.x), gradient(row, result, bits.b, 4u * fours.y));
}

fn store_zeros(at: u32, first: u32, end: u32) {
    for (var base = first; base < end; base += 2u * LANES) {
        let fours = eight_fours(base);
        if (WANT_GRAD) {
            store_eight_before(at, fours, Eight(vec4<u32>(0u), vec4<u32>(0u)), end);
        }
        if (WANT_GRAD_TARGET) {
            store_grad_target(at, 4u * fours.x, vec4<u32>(0u));
            store_grad_target(at, 4u * fours.y, vec4<u32>(0u));
        }
    }
}
