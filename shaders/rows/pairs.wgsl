// What is done with a pair of fours, wherever it comes from: rows/held_pair.wgsl, rows/walk.wgsl.

fn target_pair(at: u32, p: u32) -> Eight {
    let j = pair_classes(at, p);
    return Eight(target_values(at, classes_of(j.x)), target_values(at, classes_of(j.y)));
}

// Which class of a four is left out.
fn out_of(row: Row, j: u32) -> vec4<bool> {
    return vec4<u32>(left_out(row) - j) == in_four();
}

fn terms_of_pair(row: Row, acc: Acc, x: Eight, y: Eight, j: vec2<u32>) -> Eight {
    return Eight(term_four(row, acc, x.a, y.a, j.x), term_four(row, acc, x.b, y.b, j.y));
}

// Terms that are summed: 0 where a class is left out, or does not exist. `has_left_out`, `all_exist`: what is known of the pair.
fn summed_terms(
    row: Row, acc: Acc, x: Eight, y: Eight, j: vec2<u32>, has_left_out: bool, all_exist: bool,
) -> Eight {
    var terms = terms_of_pair(row, acc, x, y, j);
    if (has_left_out) {
        terms.a = select(terms.a, vec4<u32>(0u), out_of(row, j.x));
        terms.b = select(terms.b, vec4<u32>(0u), out_of(row, j.y));
    }
    if (!all_exist) {
        terms.a = select(vec4<u32>(0u), terms.a, exist_of(j.x));
        terms.b = select(vec4<u32>(0u), terms.b, exist_of(j.y));
    }
    return terms;
}

// Which classes of a four exist, where that is not known of all.
fn existing_of(j: u32, all_exist: bool) -> vec4<bool> {
    if (all_exist) {
        return vec4<bool>(true);
    }
    return exist_of(j);
}

fn add_pair(acc: Acc, row: Row, terms: Eight, x: Eight, y: Eight, j: vec2<u32>, all_exist: bool) -> Acc {
    let half = add_four(acc, row, terms.a, x.a, y.a, j.x, existing_of(j.x, all_exist));
    return add_four(half, row, terms.b, x.b, y.b, j.y, existing_of(j.y, all_exist));
}

fn add_second_pair(
    sums: SecondPass, row: Row, acc: Acc, x: Eight, y: Eight, j: vec2<u32>, all_exist: bool,
) -> SecondPass {
    let half = second_pass_add(sums, row, acc, x.a, y.a, j.x, existing_of(j.x, all_exist));
    return second_pass_add(half, row, acc, x.b, y.b, j.y, existing_of(j.y, all_exist));
}

// `has_left_out`: a class of the pair is left out, and has a gradient of its own. A number whose exponent bits are all set is NaN:
// or-ing them in needs no float that could be optimised away.
fn gradients_of_pair(
    row: Row, acc: Acc, result: RowResult, terms: Eight, x: Eight, y: Eight, j: vec2<u32>, has_left_out: bool,
) -> Eight {
    var bits = Eight(
        grad_four(row, acc, result, terms.a, x.a, y.a, j.x),
        grad_four(row, acc, result, terms.b, x.b, y.b, j.y),
    );
    if (has_left_out) {
        let own = vec4<u32>(grad_left_out(row, result));
        bits.a = select(bits.a, own, out_of(row, j.x));
        bits.b = select(bits.b, own, out_of(row, j.y));
    }
    let nan = vec4<u32>(result.nan_mask);
    return Eight(bits.a | nan, bits.b | nan);
}

fn store_target_gradients(row: Row, acc: Acc, result: RowResult, x: Eight, y: Eight, at: u32, j: vec2<u32>) {
    let nan = vec4<u32>(result.nan_mask);
    store_grad_target(at, classes_of(j.x), grad_target_four(row, acc, result, x.a, y.a, j.x) | nan);
    store_grad_target(at, classes_of(j.y), grad_target_four(row, acc, result, x.b, y.b, j.y) | nan);
}
