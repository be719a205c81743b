// What is done with a pair that a lane holds: rows/held/.

fn is_whole_held(p: u32) -> bool {
    return (GOES_ON | (p + 1u < HELD)) & (FIRST_PAIR_IS_WHOLE | (p > 0u));
}

fn load_held_pair(at: u32, p: u32) -> Eight {
    if (is_whole_held(p)) {
        return load_whole_pair(at, p);
    }
    return load_pair(at, p);
}

// The sums with a held pair's terms, and what is held of it from then on.
struct HeldSums {
    acc: Acc,
    x: Eight,
}

fn sum_held_pair(acc: Acc, row: Row, at: u32, p: u32, x: Eight, y: Eight) -> HeldSums {
    let j = pair_classes(at, p);
    // Only where there is something to leave out are classes looked at one by one.
    let has_left_out = pair_of(at, left_out(row)) == p;
    let terms = summed_terms(row, acc, x, y, j, has_left_out, is_whole_held(p));
    var sums = HeldSums(add_pair(acc, row, terms, x, y, j, is_whole_held(p)), x);
    if (holds_terms()) {
        sums.x = terms;
    }
    return sums;
}

fn store_held_pair(row: Row, acc: Acc, result: RowResult, at: u32, p: u32, x: Eight, y: Eight) {
    let j = pair_classes(at, p);
    if (WANT_GRAD) {
        var terms = x;
        if (!holds_terms()) {
            terms = terms_of_pair(row, acc, x, y, j);
        }
        let bits = gradients_of_pair(row, acc, result, terms, x, y, j, pair_of(at, left_out(row)) == p);
        if (is_whole_held(p)) {
            store_whole_pair(at, p, bits);
        } else {
            store_pair(at, p, bits);
        }
    }
    if (WANT_GRAD_TARGET) {
        store_target_gradients(row, acc, result, x, y, at, j);
    }
}
