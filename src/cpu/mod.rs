//! The CPU reference: what is right, in plain code. Generic over the scalar: `f32` serves people without an adapter,
//! `f64` is what tests compare with.
//!
//! Rows and items are mapped to rayon's threads. A task's loops take [`LANES`] neighbours at a time (of short rows,
//! rows side by side), and in f32 are compiled for AVX-512 and AVX2 besides the machine's baseline. The bits of a
//! result depend neither on the number of threads nor on the width of vectors.

mod grad_row;
mod items;
mod lanes;
mod math;
mod output;
mod rows;

pub(crate) use grad_row::sum_but;
pub(crate) use items::{ItemIn, ItemOut, ItemReference, items};
pub(crate) use lanes::{LANES, Sums, has_nan, largest, sums, update};
pub use math::Real;
pub(crate) use math::{decay, logistic, relu, sigmoid, softplus, tanh};
pub(crate) use rows::{BatchedRows, RowGrads, RowIn, RowReference, RowStat, RowTarget, rows};

use ndarray::ArrayD;

use crate::error::Error;
use crate::lowered::Lowered;
use crate::tensors::{Element, Output, Tensors};

/// The CPU reference of a loss in one scalar type.
pub trait CpuReference<F: Element<Scalar = F>> {
    /// Evaluates the loss; shapes, labels and values have been checked against `lowered`.
    fn compute(&self, lowered: &Lowered, tensors: &Tensors<'_, F>) -> Output<F>;

    /// Values that the loss is not defined for, where it is not defined for every float.
    ///
    /// # Errors
    /// [`Error::Value`] or [`Error::Target`], naming what was expected.
    fn check_values(&self, tensors: &Tensors<'_, F>) -> Result<(), Error>;
}

/// Every sum of more than a few terms ends in one of these: Neumaier's, in f64, where the rounding errors are kept and
/// added at the end. n terms are off by 2^-53 of the sum of their magnitudes, and by (n 2^-53)^2 of it.
///
/// In f32 neither would do for long. Equal terms are rounded the same way each time, so a plain sum of 31 250 is off by
/// 4e-4; the errors that a compensated sum keeps are equal too, and drift likewise once there are millions.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    hi: f64,
    lo: f64,
}

impl Sum {
    /// The empty sum.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a value.
    #[inline(always)]
    pub(crate) fn add(&mut self, x: f64) {
        let sum = self.hi + x;
        self.lo += if self.hi.abs() >= x.abs() { (self.hi - sum) + x } else { (x - sum) + self.hi };
        self.hi = sum;
    }

    /// The total; inf and NaN as in plain summation.
    #[must_use]
    pub(crate) fn total(self) -> f64 {
        if self.hi.is_finite() { self.hi + self.lo } else { self.hi }
    }
}

impl FromIterator<f64> for Sum {
    fn from_iter<I: IntoIterator<Item = f64>>(items: I) -> Self {
        let mut sum = Self::new();
        items.into_iter().for_each(|x| sum.add(x));
        sum
    }
}

/// The denominator of a mean, given what the items count: 0 where nothing counts, so that the mean is that of an empty
/// batch; NaN where items count but cancel, as there is no mean then.
fn counted(counts: impl IntoIterator<Item = f64>) -> f64 {
    let mut something = false;
    let total = counts.into_iter().inspect(|&count| something |= count != 0.0).collect::<Sum>().total();
    if total == 0.0 && something { f64::NAN } else { total }
}

/// The reduced loss, over a denominator as [`counted`] gives it.
fn reduced<F: Real>(lowered: &Lowered, sums: impl IntoIterator<Item = f64>, denominator: f64) -> ArrayD<F> {
    let sum = sums.into_iter().collect::<Sum>().total();
    let value = if denominator == 0.0 { f64::from(lowered.empty) } else { sum / denominator };
    ndarray::arr0(F::of(value)).into_dyn()
}
