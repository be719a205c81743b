//! Negative log-likelihood.

use super::NoParams as Params;
use super::row_loss::{RowOptions, RowSupports, example_weight, row_loss};
#[cfg(feature = "host")]
use crate::cpu::{Real, RowGrads, RowIn, RowReference, RowTarget};
use crate::error::Error;
use crate::problem::Problem;
use crate::wgsl::Flags;

row_loss! {
    Nll {
        name: "nll_loss",
        pytorch: "torch.nn.NLLLoss",
        formula: "-w_t x_t",
        wgsl: "losses/nll.wgsl",
        params: [],
        options: [],
        shared: [weight, ignore],
        supports: RowSupports { indices: true, counted: true, weighs_mean: true, one_class: true, ..RowSupports::NONE },
        examples: |loss, shape, seed| loss.rows.example_inputs(shape, seed, crate::TargetKind::Indices),
    }
}

/// Negative log-likelihood of log-probabilities x with class index t and class weights w:
///
/// loss = -w_t x_t,  d loss / d x_j = -w_t where j = t, else 0
///
/// For models that end in a log-softmax; [`CrossEntropy`](crate::CrossEntropy) fuses both. Only x_t is read.
///
/// **Shapes.** Input (C), (N, C) or (N, C, d1, ...), or any [`class_axis`](Self::class_axis); class indices without
/// that axis.
/// **Mean** divides by the sum of w_t over the rows that are not ignored. Where there are such rows and the sum is 0, loss
/// and gradient are NaN; PyTorch's loss is infinite if the rows lose anything.
///
/// **Edges.** x_t = -inf gives +inf, NaN gives NaN, for that row alone. The mean of an empty batch is NaN with gradient
/// 0. A class index out of range is an error on the host, and in a GPU buffer gives NaN for that row and a status.
///
/// Explained in [the guide](crate::guide::nll).
///
/// Source: [torch.nn.NLLLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html).
///
/// ```
/// use deeploss::{Context, Evaluate, Nll, Tensors};
/// use ndarray::array;
///
/// let log_p = array![[-0.5_f32, -1.5], [-2.0, -0.25]];
/// let out = Nll::new().evaluate(&Context::cpu(), &Tensors::new(log_p.view(), array![0_u8, 1].view()))?;
/// assert_eq!(out.scalar(), Some((0.5 + 0.25) / 2.0));
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Nll {
    rows: RowOptions,
}

impl Nll {
    /// Mean reduction, no weights, index -100 ignored.
    #[must_use]
    pub fn new() -> Self {
        Self { rows: RowOptions::new() }
    }

    fn pieces(&self, _: &Problem, _: usize) -> Result<(Params, Flags), Error> {
        Ok(([0; 4], Flags::NONE))
    }
}

fn variants(classes: usize) -> Vec<Nll> {
    vec![Nll::new(), Nll::new().weight(example_weight(classes)).ignore_index(1)]
}

#[cfg(feature = "host")]
impl<F: Real> RowReference<F> for Nll {
    #[inline(always)]
    fn row<const BITS: usize>(&self, row: &RowIn<'_, F>, grads: &mut RowGrads<'_, F>) -> F {
        let RowTarget::Class(t) = row.target else { return F::nan() };
        let w = row.weight[t];
        if let Some(grad) = &mut grads.input {
            grad.values()[t] = -row.scale * w;
        }
        -w * row.logits[t]
    }

    fn ignores(&self, target: i64) -> bool {
        self.rows.ignore.contains(&target)
    }
}
