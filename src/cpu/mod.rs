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
mod stored;

pub(crate) use grad_row::sum_but;
pub(crate) use items::{ItemIn, ItemOut, ItemReference, items};
pub(crate) use lanes::{LANES, Sums, has_nan, largest, sums, update};
pub use math::Real;
pub(crate) use math::{decay, logistic, relu, sigmoid, softplus, tanh};
pub(crate) use rows::{BatchedRows, RowGrads, RowIn, RowReference, RowStat, RowTarget, rows};

use ndarray::{ArrayD, ArrayViewD};

use crate::error::Error;
use crate::lowered::Lowered;
use crate::problem::Want;
use crate::tensors::{Element, Input, Output, Sink, Target, Tensors};
use output::unwritten;

/// The CPU reference of a loss in one scalar type.
pub trait CpuReference<F: Element<Scalar = F>> {
    /// Evaluates the loss; shapes, labels and values have been checked against `lowered`. The gradient of the input goes to `grad`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if there is no memory for an output.
    fn compute(&self, lowered: &Lowered, call: &HostCall<'_, F>, grad: Option<Sink<'_, F>>)
    -> Result<Output<F>, Error>;

    /// Values that the loss is not defined for, where it is not defined for every float.
    ///
    /// # Errors
    /// [`Error::Value`] or [`Error::Target`], naming what was expected.
    fn check_values(&self, call: &HostCall<'_, F>) -> Result<(), Error>;
}

/// The tensors of a call, whose input is dense and may be stored in fewer bits than it is computed in.
#[derive(Debug)]
pub struct HostCall<'a, F: Element<Scalar = F>> {
    pub(crate) shape: &'a [usize],
    pub(crate) input: Input<'a, F>,
    pub(crate) input2: Option<ArrayViewD<'a, F>>,
    pub(crate) target: Target<'a, F>,
    pub(crate) ignore_mask: Option<ArrayViewD<'a, bool>>,
    pub(crate) sample_weight: Option<ArrayViewD<'a, F>>,
    pub(crate) grad_output: Option<ArrayViewD<'a, F>>,
    pub(crate) want: Want,
}

impl<'a, F: Real> HostCall<'a, F> {
    /// The call of these tensors, of whose input `dense` has the elements.
    pub(crate) fn new<X: Element<Scalar = F>>(tensors: &'a Tensors<'_, X>, dense: &'a [X]) -> Self {
        Self {
            shape: tensors.input.shape(),
            input: X::input(dense),
            input2: tensors.input2.as_ref().map(|x| x.view()),
            target: match &tensors.target {
                Target::Indices(t) => Target::Indices(t.view().into()),
                Target::Values(t) => Target::Values(t.view()),
            },
            ignore_mask: tensors.ignore_mask.as_ref().map(|m| m.view()),
            sample_weight: tensors.sample_weight.as_ref().map(|w| w.view()),
            grad_output: tensors.grad_output.as_ref().map(|g| g.view()),
            want: tensors.want,
        }
    }

    /// The tensors have the shapes that the loss asks for.
    pub(crate) fn check_shapes(&self, lowered: &Lowered) -> Result<(), Error> {
        let given = [
            ("target", Some(self.target.shape()), &lowered.target_shape),
            ("grad_output", self.grad_output.as_ref().map(|g| g.shape()), &lowered.loss_shape),
            ("sample_weight", self.sample_weight.as_ref().map(|w| w.shape()), &lowered.item_shape),
            ("ignore_mask", self.ignore_mask.as_ref().map(|m| m.shape()), &lowered.item_shape),
        ];
        for (argument, got, expected) in given {
            if let Some(got) = got.filter(|got| got != expected) {
                return Err(Error::shape(argument, expected, got));
            }
        }
        Ok(())
    }

    /// Which rows of a loss over rows count for nothing whatever they hold: those that are masked, and those that weigh
    /// 0. Empty if there is neither a mask nor weights.
    pub(crate) fn excluded_rows(&self) -> Vec<bool> {
        let mut excluded: Vec<bool> = self.ignore_mask.iter().flatten().copied().collect();
        if let Some(weights) = &self.sample_weight {
            excluded.resize(weights.len(), false);
            excluded.iter_mut().zip(weights).for_each(|(excluded, &weight)| *excluded |= weight == F::zero());
        }
        excluded
    }
}

/// Items of a call: what broadcasts may have many more than its tensors have elements.
const MOST_ITEMS: u64 = if usize::BITS > 32 { 1 << 36 } else { 1 << 28 };

/// Computes a call that has been checked.
///
/// # Errors
/// As [`CpuReference::compute`].
pub(crate) fn compute<X, L>(loss: &L, lowered: &Lowered, call: &HostCall<'_, X::Scalar>) -> Result<Output<X>, Error>
where
    X: Element<Scalar: Real>,
    L: CpuReference<X::Scalar> + ?Sized,
{
    if lowered.items() as u64 > MOST_ITEMS {
        return Err(Error::Unsupported {
            what: format!("a batch of {} items", lowered.items()),
            why: "the CPU path keeps a list of its tasks in memory".into(),
            instead: "split the batch into several calls",
        });
    }
    let mut grad = if call.want.contains(Want::GRAD) { Some(unwritten::<X>(call.shape)?) } else { None };
    let output = loss.compute(lowered, call, grad.as_mut().map(X::sink))?;
    // SAFETY: a loss writes every element of the gradient that it is given.
    let grad_input = grad.map(|grad| unsafe { grad.assume_init() });
    let Output { loss, grad_input2, grad_target, stats, .. } = output;
    Ok(Output { loss, grad_input, grad_input2, grad_target, stats })
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
    let value = if denominator == 0.0 { f64::from(f32::from_bits(lowered.empty)) } else { sum / denominator };
    ndarray::arr0(F::of(value)).into_dyn()
}
