// A row's first pairs in registers, at most four of each lane: they are read once, all before the first is used. See rows/held_pair.wgsl.
//
// A pair is a variable of its own, since an array that is indexed in a loop may end up in memory. What is past HELD is left out when the
// kernel is compiled.

override HELD: u32 = 4u;
// The row goes on after them; else only the last of them may have classes that do not exist.
override GOES_ON: bool = false;

var<private> x0: Eight;
var<private> x1: Eight;
var<private> x2: Eight;
var<private> x3: Eight;
var<private> y0: Eight;
var<private> y1: Eight;
var<private> y2: Eight;
var<private> y3: Eight;

fn load_held(at: u32) {
    if (HELD > 0u) {
        x0 = load_held_pair(at, 0u);
        y0 = target_pair(at, 0u);
    }
    if (HELD > 1u) {
        x1 = load_held_pair(at, 1u);
        y1 = target_pair(at, 1u);
    }
    if (HELD > 2u) {
        x2 = load_held_pair(at, 2u);
        y2 = target_pair(at, 2u);
    }
    if (HELD > 3u) {
        x3 = load_held_pair(at, 3u);
        y3 = target_pair(at, 3u);
    }
}

fn look_held() {
    if (HELD > 0u) {
        extremes_add(x0, y0);
    }
    if (HELD > 1u) {
        extremes_add(x1, y1);
    }
    if (HELD > 2u) {
        extremes_add(x2, y2);
    }
    if (HELD > 3u) {
        extremes_add(x3, y3);
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
    if (HELD > 2u) {
        let sums = sum_held_pair(acc, row, at, 2u, x2, y2);
        acc = sums.acc;
        x2 = sums.x;
    }
    if (HELD > 3u) {
        let sums = sum_held_pair(acc, row, at, 3u, x3, y3);
        acc = sums.acc;
        x3 = sums.x;
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
    if (HELD > 2u) {
        sums = add_second_pair(sums, row, acc, x2, y2, pair_classes(at, 2u), is_whole_held(2u));
    }
    if (HELD > 3u) {
        sums = add_second_pair(sums, row, acc, x3, y3, pair_classes(at, 3u), is_whole_held(3u));
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
    if (HELD > 2u) {
        store_held_pair(row, acc, result, at, 2u, x2, y2);
    }
    if (HELD > 3u) {
        store_held_pair(row, acc, result, at, 3u, x3, y3);
    }
}
