//! Loops over classes and items, written so that a compiler makes vector code of them, and the sums they make.
//!
//! A loop takes [`LANES`] neighbours at a time and keeps as many sums, which are joined at the end as a tree. So the result has the
//! same bits whatever the width of the machine's vectors: they only decide how many lanes one instruction computes. A multiplication
//! is never fused with an addition, for the same reason.

use super::Real;

/// Neighbours that a loop takes at a time.
pub(crate) const LANES: usize = 16;

/// A loop to be compiled once for each width of vectors.
pub(crate) trait Task {
    /// What it computes.
    type Output;
    /// Runs it; `#[inline(always)]`, and so is everything in it that matters.
    fn run(self) -> Self::Output;
}

/// Runs a task with the widest vectors of this machine.
pub(crate) fn vectorised<T: Task>(task: T) -> T::Output {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn with_avx2<T: Task>(task: T) -> T::Output {
            task.run()
        }
        // SAFETY: the processor has AVX2.
        return unsafe { with_avx2(task) };
    }
    task.run()
}

/// Calls `each` with [`LANES`] elements of every row at a time, and how many of them count: at the end, the last element is repeated.
#[inline(always)]
fn blocks<F: Real, const K: usize>(rows: [&[F]; K], mut each: impl FnMut([[F; LANES]; K], usize)) {
    let rows = rows.map(|row| row[..rows[0].len()].as_chunks::<LANES>());
    for block in 0..rows[0].0.len() {
        each(rows.map(|(whole, _)| whole[block]), LANES);
    }
    let rest = rows[0].1.len();
    if rest > 0 {
        let filled = |tail: &[F]| {
            let mut block = [tail[rest - 1]; LANES];
            block.iter_mut().zip(tail).for_each(|(lane, &v)| *lane = v);
            block
        };
        each(rows.map(|(_, tail)| filled(tail)), rest);
    }
}

/// M compensated sums over one or several rows of classes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sums<F, const M: usize> {
    high: [[F; LANES]; M],
    low: [[F; LANES]; M],
}

/// a + b, and what rounding took from it (Knuth's 2Sum).
#[inline(always)]
fn two_sum<F: Real>(a: F, b: F) -> (F, F) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

impl<F: Real, const M: usize> Sums<F, M> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self { high: [[F::zero(); LANES]; M], low: [[F::zero(); LANES]; M] }
    }

    /// Adds the terms of every class; `rows` are equally long.
    #[inline(always)]
    pub(crate) fn add<T: Real, const K: usize>(&mut self, rows: [&[T]; K], term: impl Fn([T; K]) -> [F; M]) {
        blocks(rows, |block, count| {
            let mut terms = [[F::zero(); LANES]; M];
            for lane in 0..LANES {
                let all = term(block.map(|values| values[lane]));
                (0..M).for_each(|m| terms[m][lane] = if lane < count { all[m] } else { F::zero() });
            }
            for m in 0..M {
                for lane in 0..LANES {
                    let (sum, lost) = two_sum(self.high[m][lane], terms[m][lane]);
                    self.high[m][lane] = sum;
                    self.low[m][lane] += lost;
                }
            }
        });
    }

    /// The totals; inf and NaN as in plain summation.
    #[inline(always)]
    pub(crate) fn totals(self) -> [F; M] {
        self.joined().map(|(high, low)| if high.is_finite() { high + low } else { high })
    }

    /// Joins the lanes as a tree.
    #[inline(always)]
    fn joined(mut self) -> [(F, F); M] {
        let mut width = LANES / 2;
        while width > 0 {
            for m in 0..M {
                for lane in 0..width {
                    let (sum, lost) = two_sum(self.high[m][lane], self.high[m][lane + width]);
                    self.high[m][lane] = sum;
                    self.low[m][lane] = (self.low[m][lane] + self.low[m][lane + width]) + lost;
                }
            }
            width /= 2;
        }
        std::array::from_fn(|m| (self.high[m][0], self.low[m][0]))
    }
}

/// [`Sums`] over one set of rows.
#[inline(always)]
pub(crate) fn sums<F: Real, const K: usize, const M: usize>(
    rows: [&[F]; K],
    term: impl Fn([F; K]) -> [F; M],
) -> [F; M] {
    let mut sums = Sums::new();
    sums.add(rows, term);
    sums.totals()
}

/// The largest value; NaN counts as nothing, and no value at all is -inf.
#[inline(always)]
pub(crate) fn largest<F: Real>(row: &[F], value: impl Fn(F) -> F) -> F {
    let larger = |a: F, b: F| if b > a { b } else { a };
    let mut best = [F::neg_infinity(); LANES];
    blocks([row], |[block], _| {
        for lane in 0..LANES {
            best[lane] = larger(best[lane], value(block[lane]));
        }
    });
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            best[lane] = larger(best[lane], best[lane + width]);
        }
        width /= 2;
    }
    best[0]
}

/// Fills `out` with a value per class.
#[inline(always)]
pub(crate) fn fill<F: Real, const K: usize>(out: &mut [F], rows: [&[F]; K], value: impl Fn([F; K]) -> F) {
    let mut blocks_out = out.chunks_mut(LANES);
    blocks(rows, |block, count| {
        let mut values = [F::zero(); LANES];
        for lane in 0..LANES {
            values[lane] = value(block.map(|values| values[lane]));
        }
        if let Some(out) = blocks_out.next() {
            match <&mut [F; LANES]>::try_from(&mut *out) {
                Ok(out) => *out = values,
                Err(_) => out.iter_mut().zip(values).take(count).for_each(|(out, v)| *out = v),
            }
        }
    });
}

/// Whether a row holds NaN.
#[inline(always)]
pub(crate) fn has_nan<F: Real>(row: &[F]) -> bool {
    row.iter().fold(false, |found, v| found | v.is_nan())
}
