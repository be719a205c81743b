//! Loops over classes and items, written so that a compiler makes vector code of them, and the sums they make.
//!
//! A loop takes [`LANES`] neighbours at a time and keeps as many sums, which are joined at the end as a tree. So the result has the
//! same bits whatever the width of the machine's vectors: they only decide how many lanes one instruction computes. A multiplication
//! is never fused with an addition, for the same reason.

use std::ops::Range;

use rayon::prelude::*;

use super::{Real, Sum};

/// Neighbours that a loop takes at a time.
pub const LANES: usize = 16;
/// Elements whose sum is taken in the precision of the scalar: few enough for a lane's rounding errors not to show.
pub(crate) const TILE: usize = 16 * LANES;

/// A loop to be compiled once for each width of vectors.
pub(crate) trait Task {
    /// What it computes.
    type Output;
    /// Runs it; `#[inline(always)]`, and so is everything in it that matters. `WIDE` gives the closures in it a type of their own for
    /// each width of vectors: a closure that is called in one place is inlined there, however large.
    fn run<const WIDE: bool>(self) -> Self::Output;
}

/// Elements that one thread computes before a second one has woken up.
const SMALL: usize = 1 << 14;

/// Runs tasks, by several threads if there are enough elements.
pub(crate) fn run_all<T: Task<Output: Send> + Send>(tasks: Vec<T>, elements: usize) -> Vec<T::Output> {
    if elements <= SMALL {
        return tasks.into_iter().map(vectorised).collect();
    }
    tasks.into_par_iter().map(vectorised).collect()
}

/// Runs a task with the widest vectors of this machine.
fn vectorised<T: Task>(task: T) -> T::Output {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn with_avx2<T: Task>(task: T) -> T::Output {
            task.run::<true>()
        }
        // SAFETY: the processor has AVX2.
        return unsafe { with_avx2(task) };
    }
    task.run::<false>()
}

/// Calls `each` with [`LANES`] elements of every row at a time, and their place; at the end, the last element is repeated. Like every
/// loop here it names what it calls once: then a compiler inlines even a large closure, and compiles it for wide vectors.
#[inline(always)]
fn blocks<F: Real, const K: usize>(rows: [&[F]; K], mut each: impl FnMut(Range<usize>, [&[F; LANES]; K])) {
    let len = rows[0].len();
    let whole = len - len % LANES;
    let mut ends = [[F::zero(); LANES]; K];
    if whole < len {
        for k in 0..K {
            ends[k] = [rows[k][len - 1]; LANES];
            (whole..len).for_each(|place| ends[k][place - whole] = rows[k][place]);
        }
    }
    for start in (0..len).step_by(LANES) {
        let mut block = [&ends[0]; K];
        for k in 0..K {
            block[k] = rows[k][start..].first_chunk().unwrap_or(&ends[k]);
        }
        each(start..len.min(start + LANES), block);
    }
}

/// One lane of every row.
#[inline(always)]
fn lane_of<F: Real, const K: usize>(block: [&[F; LANES]; K], lane: usize) -> [F; K] {
    let mut values = [F::zero(); K];
    (0..K).for_each(|k| values[k] = block[k][lane]);
    values
}

/// At most [`LANES`] values; zeros after the last.
#[inline(always)]
pub(crate) fn load<F: Real>(values: &[F]) -> [F; LANES] {
    match values.try_into() {
        Ok(block) => block,
        Err(_) => {
            let mut block = [F::zero(); LANES];
            block.iter_mut().zip(values).for_each(|(lane, &v)| *lane = v);
            block
        }
    }
}

/// Writes at most [`LANES`] values.
#[inline(always)]
pub(crate) fn store<T: Copy>(out: &mut [T], block: &[T; LANES]) {
    match <&mut [T; LANES]>::try_from(&mut *out) {
        Ok(out) => *out = *block,
        Err(_) => out.iter_mut().zip(block).for_each(|(out, &v)| *out = v),
    }
}

/// M sums over one or several rows of classes: lane by lane over a tile, whose sums are added up in f64.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sums<const M: usize>([Sum<f64>; M]);

impl<const M: usize> Sums<M> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self([Sum::new(); M])
    }

    /// Adds the terms of every class; `rows` are equally long.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "a lane of every term")]
    pub(crate) fn add<F: Real, const K: usize>(&mut self, rows: [&[F]; K], term: impl Fn([F; K]) -> [F; M]) {
        let len = rows[0].len();
        for start in (0..len).step_by(TILE) {
            let tile = start..len.min(start + TILE);
            let mut lanes = [[F::zero(); LANES]; M];
            blocks(rows.map(|row| &row[tile.clone()]), |place, block| {
                let mut terms = [[F::zero(); LANES]; M];
                for lane in 0..LANES {
                    let all = term(lane_of(block, lane));
                    (0..M).for_each(|m| terms[m][lane] = if lane < place.len() { all[m] } else { F::zero() });
                }
                for m in 0..M {
                    (0..LANES).for_each(|lane| lanes[m][lane] += terms[m][lane]);
                }
            });
            self.0.iter_mut().zip(lanes).for_each(|(sum, lanes)| sum.add(joined(lanes, |a, b| a + b).wide()));
        }
    }

    /// The totals; inf and NaN as in plain summation.
    #[inline(always)]
    pub(crate) fn totals<F: Real>(self) -> [F; M] {
        self.0.map(|sum| F::of(sum.total()))
    }
}

/// Joins the lanes as a tree.
#[inline(always)]
pub(crate) fn joined<F: Real>(mut lanes: [F; LANES], two: impl Fn(F, F) -> F) -> F {
    let mut width = LANES / 2;
    while width > 0 {
        (0..width).for_each(|lane| lanes[lane] = two(lanes[lane], lanes[lane + width]));
        width /= 2;
    }
    lanes[0]
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

/// The sum of a value per class over all classes but one, and the value of that one, 0 if there is none. All values but that one are
/// left in `out`, if there is an `out`.
#[inline(always)]
pub(crate) fn sum_but<F: Real>(
    one: Option<usize>,
    row: &[F],
    mut out: Option<&mut [F]>,
    value: impl Fn(F) -> F,
) -> [F; 2] {
    let mut own = F::zero();
    let mut sum = Sum::<f64>::new();
    for start in (0..row.len()).step_by(TILE) {
        let tile = start..row.len().min(start + TILE);
        let mut scratch;
        let values = match &mut out {
            Some(out) => &mut out[tile.clone()],
            None => {
                scratch = [F::zero(); TILE];
                &mut scratch[..tile.len()]
            }
        };
        fill(values, [&row[tile.clone()]], |[v]| value(v));
        if let Some(one) = one.filter(|one| tile.contains(one)) {
            own = std::mem::replace(&mut values[one - start], F::zero());
        }
        sum.add(tile_sum(values).wide());
    }
    [F::of(sum.total()), own]
}

/// The sum over at most a tile.
#[inline(always)]
fn tile_sum<F: Real>(values: &[F]) -> F {
    let (whole, rest) = values.as_chunks::<LANES>();
    let mut lanes = load(rest);
    for block in whole {
        (0..LANES).for_each(|lane| lanes[lane] += block[lane]);
    }
    joined(lanes, |a, b| a + b)
}

/// The largest value; NaN counts as nothing, and no value at all is -inf.
#[inline(always)]
pub(crate) fn largest<F: Real>(row: &[F]) -> F {
    let larger = |a: F, b: F| if b > a { b } else { a };
    let mut best = [F::neg_infinity(); LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for block in whole {
        (0..LANES).for_each(|lane| best[lane] = larger(best[lane], block[lane]));
    }
    best.iter_mut().zip(rest).for_each(|(best, &v)| *best = larger(*best, v));
    joined(best, larger)
}

/// Fills `out` with a value per class.
#[inline(always)]
pub(crate) fn fill<F: Real, const K: usize>(out: &mut [F], rows: [&[F]; K], value: impl Fn([F; K]) -> F) {
    blocks(rows, |place, block| {
        let mut values = [F::zero(); LANES];
        (0..LANES).for_each(|lane| values[lane] = value(lane_of(block, lane)));
        let out = &mut out[place];
        store(out, &values);
    });
}

/// Replaces what `out` holds by a value made from it, per class.
#[inline(always)]
pub(crate) fn update<F: Real, const K: usize>(out: &mut [F], rows: [&[F]; K], value: impl Fn(F, [F; K]) -> F) {
    blocks(rows, |place, block| {
        let out = &mut out[place];
        let mut values = load(out);
        (0..LANES).for_each(|lane| values[lane] = value(values[lane], lane_of(block, lane)));
        store(out, &values);
    });
}

/// Whether a row holds NaN.
#[inline(always)]
pub(crate) fn has_nan<F: Real>(row: &[F]) -> bool {
    row.iter().fold(false, |found, v| found | v.is_nan())
}
