// A group walks along pairs `first` .. `end` of a row, which are read wherever they are needed: from memory, or from a cache of the
// device. The last pair, and one past it, may have classes that do not exist; in rows/lanes/words.wgsl the first one too.

// The terms of 16 classes. They are not known to be ordinary before all of the row has been seen.
fn add_block(before: Acc, row: Row, at: u32, p: u32, exist: bool, has_left_out: bool) -> Acc {
    var a: Eight;
    var b: Eight;
    if (exist) {
        a = load_whole_pair(at, p);
        b = load_whole_pair(at, p + 1u);
    } else {
        a = load_pair(at, p);
        b = load_pair(at, p + 1u);
    }
    let ya = target_pair(at, p);
    let yb = target_pair(at, p + 1u);
    extremes_add(a, ya);
    extremes_add(b, yb);
    let ja = pair_classes(at, p);
    let jb = pair_classes(at, p + 1u);
    let acc = acc_move(raised(before));
    let first = add_pair(acc, row, summed_terms(row, acc, a, ya, ja, has_left_out, exist), a, ya, ja, exist);
    return add_pair(first, row, summed_terms(row, acc, b, yb, jb, has_left_out, exist), b, yb, jb, exist);
}

// Whether a block of two pairs has the class that is left out.
fn block_leaves_out(row: Row, at: u32, p: u32) -> bool {
    let pair = pair_of(at, left_out(row));
    return (pair == p) | (pair == p + 1u);
}

fn sum_walk(before: Acc, row: Row, at: u32, first: u32, end: u32) -> Acc {
    var acc = before;
    var p = first;
    if (!FIRST_PAIR_IS_WHOLE & (p < end)) {
        acc = add_block(acc, row, at, p, false, true);
        p += 2u;
    }
    // Blocks that lie wholly inside the row.
    let whole = p + (max(end, p + 1u) - 1u - p) / 2u * 2u;
    // Loops that leave at the end of their body: lavapipe runs a body once more, masked, where the test comes first.
    if (whole > p) {
        loop {
            acc = add_block(acc, row, at, p, true, block_leaves_out(row, at, p));
            p += 2u;
            if (p >= whole) {
                break;
            }
        }
    }
    if (p < end) {
        acc = add_block(acc, row, at, p, false, true);
    }
    return acc;
}

// A second pass over the classes, for sums that need the first pass' result.
fn second_walk(before: SecondPass, row: Row, acc: Acc, at: u32, first: u32, end: u32) -> SecondPass {
    var sums = before;
    for (var p = first; p < end; p += 1u) {
        let j = pair_classes(at, p);
        sums = second_pass_close(add_second_pair(sums, row, acc, load_pair(at, p), target_pair(at, p), j, false));
    }
    return sums;
}

fn store_walked(row: Row, acc: Acc, result: RowResult, at: u32, p: u32, exist: bool) {
    let j = pair_classes(at, p);
    var x = Eight(vec4<u32>(0u), vec4<u32>(0u));
    if (ACCUMULATES & exist) {
        x = load_whole_pair(at, p);
    } else if (ACCUMULATES) {
        x = load_pair(at, p);
    }
    let y = target_pair(at, p);
    if (WANT_GRAD) {
        let terms = terms_of_pair(row, acc, x, y, j);
        let bits = gradients_of_pair(row, acc, result, terms, x, y, j, pair_of(at, left_out(row)) == p);
        if (exist) {
            store_whole_pair(at, p, bits);
        } else {
            store_pair(at, p, bits);
        }
    }
    if (WANT_GRAD_TARGET) {
        store_target_gradients(row, acc, result, x, y, at, j);
    }
}

fn store_walk(row: Row, acc: Acc, result: RowResult, at: u32, first: u32, end: u32) {
    var p = first;
    if (!FIRST_PAIR_IS_WHOLE & (p < end)) {
        store_walked(row, acc, result, at, p, false);
        p += 1u;
    }
    let last = max(end, 1u) - 1u;
    if (p < last) {
        loop {
            store_walked(row, acc, result, at, p, true);
            p += 1u;
            if (p >= last) {
                break;
            }
        }
    }
    if (p < end) {
        store_walked(row, acc, result, at, p, false);
    }
}

fn store_zeros(at: u32, first: u32, end: u32) {
    let zeros = vec4<u32>(0u);
    for (var p = first; p < end; p += 1u) {
        if (WANT_GRAD) {
            store_pair(at, p, Eight(zeros, zeros));
        }
        if (WANT_GRAD_TARGET) {
            let j = pair_classes(at, p);
            store_grad_target(at, classes_of(j.x), zeros);
            store_grad_target(at, classes_of(j.y), zeros);
        }
    }
}
