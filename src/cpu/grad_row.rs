//! A row of a gradient while it is computed, and the exponentials of a row, which are left there.

use std::mem::MaybeUninit;

use super::lanes::{TILE, fill, tile_sum, written};
use super::{Real, Sum};

/// A row of a gradient, which holds nothing at first.
#[derive(Debug)]
pub(crate) struct GradRow<'a, F> {
    memory: &'a mut [MaybeUninit<F>],
    is_written: bool,
}

impl<'a, F: Real> GradRow<'a, F> {
    pub(super) fn new(memory: &'a mut [MaybeUninit<F>]) -> Self {
        Self { memory, is_written: false }
    }

    /// Its values; zeros if nothing has been written.
    #[inline(always)]
    pub(crate) fn values(&mut self) -> &mut [F] {
        if !self.is_written {
            self.memory.fill(MaybeUninit::new(F::zero()));
            self.is_written = true;
        }
        // SAFETY: it has been, at the latest now.
        unsafe { written(self.memory) }
    }

    /// Fills it with a value per class.
    #[inline(always)]
    pub(crate) fn fill<const K: usize>(&mut self, rows: [&[F]; K], value: impl Fn([F; K]) -> F) -> &mut [F] {
        let values = fill(self.memory, rows, value);
        self.is_written = true;
        values
    }

    /// What is to be filled; see [`set_written`](Self::set_written).
    #[inline(always)]
    pub(super) fn memory(&mut self) -> &mut [MaybeUninit<F>] {
        self.memory
    }

    /// Says that its memory has been filled.
    ///
    /// # Safety
    /// So it must have been, every element.
    #[inline(always)]
    pub(super) unsafe fn set_written(&mut self) {
        self.is_written = true;
    }
}

/// The sum of a value per class over all classes but one, and the value of that one, 0 if there is none. All values but
/// that one are left in `out`, if there is an `out`.
#[inline(always)]
pub(crate) fn sum_but<F: Real>(
    one: Option<usize>,
    row: &[F],
    mut out: Option<&mut GradRow<'_, F>>,
    value: impl Fn(F) -> F,
) -> [F; 2] {
    let mut own = F::zero();
    let mut sum = Sum::new();
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

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::mem::MaybeUninit;

    use super::{GradRow, sum_but};
    use crate::cpu::lanes::{TILE, Task, fill, largest, sums, update, wide_sum, x86};
    use crate::cpu::{Real, logistic};

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
                .chain([wide_sum(&logs[..row.len().min(TILE)])])
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
