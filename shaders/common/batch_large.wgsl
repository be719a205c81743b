// Rows of many workgroups: sums over them are dispatches of their own. The same interface stands in batch_small.wgsl.

@group(0) @binding(8) var<storage, read> work: array<u32>;

// What the gradient of every row is divided by.
fn batch_denominator() -> f32 {
    if (COUNTED) {
        return bitcast<f32>(work[0]);
    }
    return u.frame.denominator;
}

// Called once all rows of the workgroup are done, in uniform control flow.
fn finish_batch(invocation: u32) {
}
