// What becomes of the items' losses: they are summed, a partial sum per workgroup.
//
//   losses   the call's work: partial sums, and before them the denominator, where an earlier dispatch counts it

@group(0) @binding(8) var<storage, read_write> losses: array<u32>;

override COUNTED: bool = false;     // the denominator is counted, else known beforehand

// Its bits, as in rows/batch/.
fn denominator() -> u32 {
    if (COUNTED) {
        return losses[0];
    }
    return bitcast<u32>(u.dispatch.denominator);
}

fn store_losses(i: u32, loss: vec4<u32>) {
}

// `huge`: also notes that something is out of proportion.
fn store_sum(group: u32, sum: PartialSum, huge: bool) {
    let words = sum_words(sum);
    let at = SUMS_AT + group * SUM_WORDS;
    losses[at] = words[0];
    losses[at + 1u] = words[1];
    losses[at + 2u] = select(words[2], words[2] | HAS_HUGE, huge);
    losses[at + 3u] = words[3];
    losses[at + 4u] = words[4];
}
