// Rows of many workgroups, divided by a denominator that is known beforehand.

// Bits of what the gradient of every row is divided by: 0 where nothing counts, NaN where counts cancel.
fn batch_denominator() -> u32 {
    return bitcast<u32>(u.dispatch.denominator);
}

// Called once all rows of the workgroup are done, in uniform control flow.
fn finish_batch(invocation: u32) {
}
