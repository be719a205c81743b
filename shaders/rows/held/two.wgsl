// A row's first pairs in registers, at most two of each lane: they are read once, all before the first is used. See rows/held_pair.wgsl.
//
// A pair is a variable of its own, since an array that is indexed in a loop may end up in memory. What is past HELD is left out when the
// kernel is compiled.

override HELD: u32 = 2u;
// The row goes on after them; else only the last of them may have classes that do not exist.
override GOES_ON: bool = false;

var<private> x0: Eight;
var<private> x1: Eight;
var<private> y0: Eight;
var<private> y1: Eight;

fn load_held(at: u32) {
    if (HELD > 0u) {
        x0 = load_held_pair(at, 0u);
        y0 = target_pair(at, 0u);
    }
    if (HELD > 1u) {
        x1 = load_held_pair(at, 1u);
        y1 = target_pair(at, 1u);
    }
}

fn look_held() {
    if (HELD > 0u) {
        extremes_add(x0, y0);
    }
    if (HELD > 1u) {
        extremes_add(x1, y1);
    }
}

fn sum_held(before: Acc, row: Row, at: u32) -> Acc {
    var acc = before;
    if (HELD > 0u) {
        let sums = sum_held_pair(acc, row, at, 0u, x0, y0);
        acc = sums.acc;
        x0 = sums.x;
    }
    if (HELD > 1u) {
        let sums = sum_held_pair(acc, row, at, 1u, x1, y1);
        acc = sums.acc;
        x1 = sums.x;
    }
    return acc;
}

fn second_held(before: SecondPass, row: Row, acc: Acc, at: u32) -> SecondPass {
    var sums = before;
    if (HELD > 0u) {
        sums = add_second_pair(sums, row, acc, x0, y0, pair_classes(at, 0u), is_whole_held(0u));
    }
    if (HELD > 1u) {
        sums = add_second_pair(sums, row, acc, x1, y1, pair_classes(at, 1u), is_whole_held(1u));
    }
    return sums;
}

fn store_held(row: Row, acc: Acc, result: RowResult, at: u32) {
    if (HELD > 0u) {
        store_held_pair(row, acc, result, at, 0u, x0, y0);
    }
    if (HELD > 1u) {
        store_held_pair(row, acc, result, at, 1u, x1, y1);
    }
}
