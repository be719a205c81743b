//! Loops over classes and items, written so that a compiler makes vector code of them, and the sums they make.
//!
//! A sum is kept in [`LANES`] lanes, which are joined at the end as a tree. So the result has the same bits whatever
//! the width of the machine's vectors: they only decide how many lanes one instruction computes. A multiplication is
//! never fused with an addition, for the same reason.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::output::{GradRow, written};
use super::{Real, Sum};

/// Neighbours that make a block: one goes to each lane of a sum.
pub const LANES: usize = 16;
/// Elements whose sum is taken in the precision of the scalar: few enough for a lane's rounding errors not to show.
pub(crate) const TILE: usize = 16 * LANES;

/// A loop to be compiled once for each width of vectors.
pub trait Task {
    /// What it computes with.
    type Scalar: Vectors;
    /// What it computes.
    type Output;
    /// Runs it; `#[inline(always)]`, and so is everything in it that matters. `BITS`, the width of vectors, gives the
    /// closures in it a type of their own for each width: a closure that is called in one place is inlined there,
    /// however large.
    fn run<const BITS: usize>(self) -> Self::Output;
}

/// Scalars whose loops become vector code.
pub trait Vectors {
    /// Runs a task, with the widest vectors of this machine where speed matters.
    fn run<T: Task>(task: T) -> T::Output;
}

impl Vectors for f64 {
    /// The oracle need not be fast, and each width takes its time to compile.
    fn run<T: Task>(task: T) -> T::Output {
        task.run::<128>()
    }
}

impl Vectors for f32 {
    fn run<T: Task>(task: T) -> T::Output {
        #[cfg(target_arch = "x86_64")]
        let task = match x86::with_avx512(task).or_else(x86::with_avx2) {
            Ok(output) => return output,
            Err(task) => task,
        };
        task.run::<128>()
    }
}

/// Vectors that not every machine has: where they are missing, the task comes back.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Task;

    pub(super) fn with_avx512<T: Task>(task: T) -> Result<T::Output, T> {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        fn run<T: Task>(task: T) -> T::Output {
            task.run::<512>()
        }
        let there = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        // SAFETY: the processor has all four.
        if there { Ok(unsafe { run(task) }) } else { Err(task) }
    }

    pub(super) fn with_avx2<T: Task>(task: T) -> Result<T::Output, T> {
        #[target_feature(enable = "avx2")]
        fn run<T: Task>(task: T) -> T::Output {
            task.run::<256>()
        }
        // SAFETY: the processor has AVX2.
        if is_x86_feature_detected!("avx2") { Ok(unsafe { run(task) }) } else { Err(task) }
    }
}

/// Elements that one thread computes before a second one has woken up.
const SMALL: usize = 1 << 14;

/// Runs tasks, by several threads if there are enough elements.
pub(crate) fn run_all<T: Task<Output: Send> + Send>(tasks: Vec<T>, elements: usize) -> Vec<T::Output> {
    if elements <= SMALL {
        return tasks.into_iter().map(T::Scalar::run).collect();
    }
    tasks.into_par_iter().map(T::Scalar::run).collect()
}

/// Calls `each` with N elements of every row at a time, and their place; at the end, the last element is repeated. Like
/// every loop here it names what it calls once: then a compiler inlines even a large closure, and compiles it for wide
/// vectors.
#[inline(always)]
pub(crate) fn blocks<F: Real, const K: usize, const N: usize>(
    rows: [&[F]; K],
    mut each: impl FnMut(Range<usize>, [&[F; N]; K]),
) {
    let len = rows[0].len();
    let whole = len - len % N;
    let mut ends = [[F::zero(); N]; K];
    if whole < len {
        for k in 0..K {
            ends[k] = [rows[k][len - 1]; N];
            (whole..len).for_each(|place| ends[k][place - whole] = rows[k][place]);
        }
    }
    for start in (0..len).step_by(N) {
        let mut block = [&ends[0]; K];
        for k in 0..K {
            block[k] = rows[k][start..].first_chunk().unwrap_or(&ends[k]);
        }
        each(start..len.min(start + N), block);
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
            blocks(rows.map(|row| &row[tile.clone()]), |place, block: [&[F; LANES]; K]| {
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
    mut out: Option<&mut GradRow<'_, F>>,
    value: impl Fn(F) -> F,
) -> [F; 2] {
    let mut own = F::zero();
    let mut sum = Sum::<f64>::new();
    let mut scratch = [MaybeUninit::uninit(); TILE];
    for start in (0..row.len()).step_by(TILE) {
        let tile = start..row.len().min(start + TILE);
        let values = match &mut out {
            Some(out) => &mut out.memory()[tile.clone()],
            None => &mut scratch[..tile.len()],
        };
        let values = fill(values, [&row[tile]], |[v]| value(v));
        if let Some(one) = one.and_then(|one| values.get_mut(one.wrapping_sub(start))) {
            own = std::mem::replace(one, F::zero());
        }
        sum.add(tile_sum(values).wide());
    }
    // SAFETY: a row's gradient is as long as the row, and its tiles have been filled.
    out.into_iter().for_each(|out| unsafe { out.set_written() });
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

/// The sum over at most a tile in f64, which holds the sum of any floats.
#[inline(always)]
pub(crate) fn wide_sum<F: Real>(values: &[F]) -> f64 {
    let (whole, rest) = values.as_chunks::<LANES>();
    let mut lanes = load(rest).map(F::wide);
    for block in whole {
        (0..LANES).for_each(|lane| lanes[lane] += block[lane].wide());
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

/// Fills memory, which may hold nothing yet, with a value per class.
#[inline(always)]
pub(crate) fn fill<'a, F: Real, const K: usize>(
    out: &'a mut [MaybeUninit<F>],
    rows: [&[F]; K],
    value: impl Fn([F; K]) -> F,
) -> &'a mut [F] {
    update(out, rows, |_, values| MaybeUninit::new(value(values)));
    // SAFETY: every element has just been written.
    unsafe { written(out) }
}

/// Replaces what `out` holds by a value made from it, per class.
#[inline(always)]
pub(crate) fn update<T: Copy, F: Real, const K: usize>(out: &mut [T], rows: [&[F]; K], value: impl Fn(T, [F; K]) -> T) {
    let Some(&first) = out.first() else { return };
    // Whole blocks in place, what remains in a block of its own: a few elements would cost as much one by one as many
    // blocks.
    let (head, tail) = out.split_at_mut(out.len() - out.len() % LANES);
    let (whole, padded) = (head.len(), tail.len().next_multiple_of(LANES));
    let (mut end, ends) = ([first; LANES], rows.map(|row| load(&row[whole..])));
    end[..tail.len()].copy_from_slice(tail);
    let (head_rows, end_rows) = (rows.map(|row| &row[..whole]), ends.each_ref().map(|end| &end[..padded]));
    // One loop for both, which names what it calls once, and where no index is out of bounds.
    for (out, rows) in [(head, head_rows), (&mut end[..padded], end_rows)] {
        assert!(rows.iter().all(|row| row.len() == out.len()), "rows as long as the output");
        for place in 0..out.len() {
            let mut values = [F::zero(); K];
            (0..K).for_each(|k| values[k] = rows[k][place]);
            out[place] = value(out[place], values);
        }
    }
    tail.copy_from_slice(&end[..tail.len()]);
}

/// Whether a row holds NaN.
#[inline(always)]
pub(crate) fn has_nan<F: Real>(row: &[F]) -> bool {
    row.iter().fold(false, |found, v| found | v.is_nan())
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::mem::MaybeUninit;

    use super::{Task, fill, largest, sum_but, sums, update, wide_sum, x86};
    use crate::reference::output::GradRow;
    use crate::reference::{Real, logistic};

    /// All loops of this file, and the functions that losses call in them.
    #[derive(Clone, Copy)]
    struct All<'a>(&'a [f32]);

    impl Task for All<'_> {
        type Scalar = f32;
        type Output = Vec<u64>;

        #[inline(always)]
        fn run<const BITS: usize>(self) -> Vec<u64> {
            let row = self.0;
            let mut memory = [vec![MaybeUninit::uninit(); row.len()], vec![MaybeUninit::uninit(); row.len()]];
            let [out, logs] = &mut memory;
            let mut out = GradRow::new(out);
            let [sum, own] = sum_but(Some(row.len() / 2), row, Some(&mut out), |v: f32| (-v.abs()).exp_twice());
            let out = out.values();
            update(out, [row], |e, [v]| e * v.exp_any() + v.expm1());
            let [cost, slope] = sums([row, out], |[v, e]| [logistic(v).0.cost, e.abs().log_any()]);
            let logs = fill(logs, [row], |[v]| v.abs().log1p() + logistic(v).1.p);
            let scalars = [sum, own, cost, slope, largest(row)].map(f32::wide);
            let values = out.iter().chain(&*logs).map(|v| v.wide());
            scalars
                .into_iter()
                .chain([wide_sum(&logs[..row.len().min(super::TILE)])])
                .chain(values)
                .map(f64::to_bits)
                .collect()
        }
    }

    #[test]
    fn the_width_of_vectors_changes_no_bit() {
        for len in [1, 15, 16, 17, 255, 256, 257, 1003] {
            let row: Vec<f32> = (0..len).map(|k| ((k * 7919 % 10_007) as f32 - 5000.0) / 100.0).collect();
            let narrow = All(&row).run::<128>();
            for wide in [x86::with_avx2(All(&row)), x86::with_avx512(All(&row))].into_iter().flatten() {
                assert_eq!(narrow, wide, "{len} values");
            }
        }
    }
}
