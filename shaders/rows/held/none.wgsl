// Nothing of a row is held: rows/walk.wgsl reads all of it wherever it is needed.

const HELD = 0u;
const GOES_ON = true;

fn load_held(at: u32) {
}

fn look_held() {
}

fn sum_held(acc: Acc, row: Row, at: u32) -> Acc {
    return acc;
}

fn second_held(sums: SecondPass, row: Row, acc: Acc, at: u32) -> SecondPass {
    return sums;
}

fn store_held(row: Row, acc: Acc, result: RowResult, at: u32) {
}
