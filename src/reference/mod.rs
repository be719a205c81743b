//! The CPU reference: what is right, in plain code. Generic over the scalar: `f32` serves people without an adapter, `f64` is the
//! oracle that tests compare with.
//!
//! Rows and items are shared out to rayon's threads. A task's loops take [`LANES`] neighbours at a time (of few classes, rows side
//! by side), and in f32 are compiled for AVX-512 and AVX2 besides the machine's baseline. The bits of a result depend
//! neither on the number of threads nor on the width of vectors.

mod items;
mod lanes;
mod math;
mod output;
mod rows;

pub use items::{ItemIn, ItemOut, ItemTwin, items};
pub use lanes::LANES;
pub(crate) use lanes::{Sums, has_nan, largest, sum_but, sums, update};
pub use math::Real;
pub(crate) use math::{decay, logistic, relu, sigmoid, softplus, tanh};
pub use output::GradRow;
pub use rows::{FewRows, RowGrads, RowIn, RowStat, RowTarget, RowTwin, rows};

use crate::error::Error;
use crate::losses::{Loss, Twin};
use crate::problem::Want;
use crate::tensors::{Answer, Tensors};

/// Evaluates a loss on the CPU in the precision of its tensors.
///
/// # Errors
/// As [`Loss::evaluate_with`]: everything that validation finds.
///
/// ```
/// use deeploss::{CrossEntropy, Tensors, Want, reference};
/// use ndarray::array;
/// let (logits, target) = (array![[40.0_f64, 0.0]], array![0_i64]);
/// let out = reference::evaluate(&CrossEntropy::new(), &Tensors::new(logits.view(), target.view()), Want::LOSS)?;
/// assert!((out.scalar().unwrap() - (-40.0_f64).exp().ln_1p()).abs() < 1e-30);
/// # Ok::<(), deeploss::Error>(())
/// ```
pub fn evaluate<F: Real, L: Loss + Twin<F> + ?Sized>(
    loss: &L,
    tensors: &Tensors<'_, F>,
    want: Want,
) -> Result<Answer<F>, Error> {
    let kernel = loss.kernel(&tensors.problem(want))?;
    crate::host::check(loss, &kernel, tensors)?;
    Ok(Twin::<F>::compute(loss, &kernel, tensors, want))
}

/// Neumaier's sum: the rounding errors are kept and added at the end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum<F> {
    high: F,
    low: F,
}

impl<F: Real> Sum<F> {
    /// The empty sum.
    #[must_use]
    pub fn new() -> Self {
        Self { high: F::zero(), low: F::zero() }
    }

    /// Adds a value.
    #[inline(always)]
    pub fn add(&mut self, x: F) {
        let sum = self.high + x;
        self.low += if self.high.abs() >= x.abs() { (self.high - sum) + x } else { (x - sum) + self.high };
        self.high = sum;
    }

    /// The total; inf and NaN as in plain summation.
    #[must_use]
    pub fn total(self) -> F {
        if self.high.is_finite() { self.high + self.low } else { self.high }
    }
}

impl<F: Real> FromIterator<F> for Sum<F> {
    fn from_iter<I: IntoIterator<Item = F>>(items: I) -> Self {
        let mut sum = Self::new();
        items.into_iter().for_each(|x| sum.add(x));
        sum
    }
}
