// Sums over the classes of a row, with an error that does not grow with their number.
//
// A plain f32 sum of n equal terms may be off by n 2^-24 relative: 1 / 50 at 300 000 classes, since they round the same way every time. So
// a lane adds at most 64 terms plainly (a run: trees of four, which are added one after the other, so that no term is rounded more than 18
// times), runs are joined by Kahan's sum, and lanes by the group's tree: (20 + log2(LANES)) 2^-24 at most, at any length.

struct RunSum {
    run: f32,
    total: f32,
    lo: f32,            // what rounding added to `total` too much
}

fn run_sum_new() -> RunSum {
    return RunSum(0.0, 0.0, 0.0);
}

// Ends the run. A sum that has left the range of f32 has lost nothing that could be told.
fn run_sum_close(sum: RunSum) -> RunSum {
    let y = sum.run - sum.lo;
    let total = opaque(sum.total + y);
    let lo = opaque(total - sum.total) - y;
    return RunSum(0.0, total, select(0.0, lo, is_finite(bitcast<u32>(total))));
}

fn run_sum_add(sum: RunSum, terms: vec4<f32>) -> RunSum {
    return RunSum(sum.run + sum4(terms), sum.total, sum.lo);
}

// A closed sum times a factor.
fn run_sum_times(sum: RunSum, factor: f32) -> RunSum {
    return RunSum(0.0, sum.total * factor, sum.lo * factor);
}

// Of a closed sum.
fn run_sum_value(sum: RunSum) -> f32 {
    return sum.total - sum.lo;
}

fn run_sum_join(sum: RunSum) -> RunSum {
    return RunSum(0.0, group_sum(run_sum_value(run_sum_close(sum))), 0.0);
}

fn sum4(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}
