// The online softmax: the largest x so far, m, and the sum of exp(x_c - m), in one pass (arXiv 1805.02867).

struct Soft {
    half_m: f32,        // m / 2
    sum: f32,
    lo: f32,            // what rounding added to `sum` too much
}

fn soft_new() -> Soft {
    return Soft(-0x1.fffffep+126f, 0.0, 0.0);
}

// Moves the sum to a maximum that is at least as large, and adds the sum over new classes relative to it.
// Kahan's sum: equal logits would otherwise round the same way every time.
fn soft_add(before: Soft, half_m: f32, added: f32) -> Soft {
    let rescale = exp_twice(before.half_m - half_m);
    let moved = before.sum * rescale;
    let y = added - before.lo * rescale;
    let sum = opaque(moved + y);
    return Soft(half_m, sum, opaque(sum - moved) - y);
}

// Over the lanes of the group.
fn soft_join(mine: Soft) -> Soft {
    let half_m = group_max(mine.half_m);
    return Soft(half_m, group_sum((mine.sum - mine.lo) * exp_twice(mine.half_m - half_m)), 0.0);
}

fn largest4(v: vec4<f32>) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

fn sum4(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}
