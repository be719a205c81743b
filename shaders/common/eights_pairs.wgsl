// Eight neighbouring elements of the input at once, where their number is a multiple of 8. The same interface stands in
// eights_ones.wgsl.

fn input_eight(i: u32) -> Pair {
    return read_pair(i >> 2u);
}
