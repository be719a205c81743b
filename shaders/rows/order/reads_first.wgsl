// The gradient overwrites logits that other lanes of the row have read for their sums: the target's, for example.

fn await_reads() {
    // All lanes have read what is not their own.
    storageBarrier();
}
