// Rows of many workgroups, divided by a denominator that is known beforehand.

// What the gradient of every row is divided by.
fn batch_denominator() -> f32 {
    return u.dispatch.denominator;
}

// Called once all rows of the workgroup are done, in uniform control flow.
fn finish_batch(invocation: u32) {
}
