// Maximum m and sum of exp(x_c - m) over the classes of a row, in one pass: when a larger maximum comes, the sum moves to it
// (arXiv 1805.02867). Where a row is held, all its maxima come first and nothing moves. All x are kept halved, see `exp_twice4`.
//
// Temperature T, of losses that have one: exp((x_c - m) / T). x and m are kept as they are, and differences are divided: x / T would be
// rounded at the magnitude of x, and the result would change with an offset of all x.

override TEMPERED: bool = false;        // T is not 1

struct Soft {
    peak: f32,          // half of the largest x so far
    half_m: f32,        // m / 2: what the sum is relative to
    sum: RunSum,
}

const LOWEST_HALF = -0x1.fffffep+126f;

fn soft_new() -> Soft {
    return Soft(LOWEST_HALF, LOWEST_HALF, run_sum_new());
}

// Of halved differences, the quotients by T. `bound`: the largest number whose quotient f32 holds.
fn over_t4(h: vec4<f32>, inverse_t: f32, bound: f32) -> vec4<f32> {
    if (TEMPERED) {
        return clamp(h, vec4<f32>(-bound), vec4<f32>(bound)) * inverse_t;
    }
    return h;
}

// Ends the run, and moves the sum to the peak. `factor`: exp of the old maximum less the peak.
fn soft_move(before: Soft, factor: f32) -> Soft {
    return Soft(before.peak, before.peak, run_sum_times(run_sum_close(before.sum), factor));
}

// Over the lanes of the group, whose sums are relative to the same maximum.
fn soft_join(mine: Soft) -> Soft {
    return Soft(mine.peak, mine.half_m, run_sum_join(mine.sum));
}
