// Losses whose sums need no maximum first.

fn raise_peak(acc: Acc, top_x: u32, top_y: u32) -> Acc {
    return acc;
}

fn peak_join(acc: Acc) -> Acc {
    return acc;
}
