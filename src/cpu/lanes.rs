//! Loops over classes and items, written so that a compiler makes vector code of them, and the sums they make.
//!
//! A sum is kept in [`LANES`] lanes, which are joined at the end as a tree. So the result has the same bits whatever
//! the width of the machine's vectors: they only decide how many lanes one instruction computes. A multiplication is
//! never fused with an addition, for the same reason.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::{Real, Sum};

/// Neighbours that make a block: one goes to each lane of a sum.
pub(crate) const LANES: usize = 16;
/// Elements whose sum is taken in the precision of the scalar. It is rounded 20 times, as each lane adds 16 terms and the
/// lanes are joined in 4 steps: in f32 it is off by 1.2e-6 at most, and by 4e-7 where the terms are equal. What is summed
/// over longer rows is made of such sums, in a [`Sum`], and no worse.
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
    /// It is what f32 is compared with: it need not be fast, and each width takes its time to compile.
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
pub(super) mod x86 {
    use super::Task;

    pub(in crate::cpu) fn with_avx512<T: Task>(task: T) -> Result<T::Output, T> {
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

    pub(in crate::cpu) fn with_avx2<T: Task>(task: T) -> Result<T::Output, T> {
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
pub(crate) struct Sums<const M: usize>([Sum; M]);

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

/// The sum over at most a tile.
#[inline(always)]
pub(super) fn tile_sum<F: Real>(values: &[F]) -> F {
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

/// Memory that holds values.
///
/// # Safety
/// Every element has been written.
#[inline(always)]
pub(super) unsafe fn written<F>(memory: &mut [MaybeUninit<F>]) -> &mut [F] {
    // SAFETY: so the caller says, and the layout is the same.
    unsafe { &mut *(std::ptr::from_mut(memory) as *mut [F]) }
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
