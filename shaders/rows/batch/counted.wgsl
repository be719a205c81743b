// Rows of many workgroups, divided by a denominator that an earlier dispatch has counted: word 0 of `work`.

@group(0) @binding(14) var<storage, read> work: array<u32>;

fn batch_denominator() -> u32 {
    return work[0];
}

fn finish_batch(invocation: u32) {
}
