//! Negative log-likelihood.

use super::classes::{Classes, Takes, class_builders, sample_weight};
use super::{Loss, LossInfo, Options, Twin};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::link::part;
use crate::problem::{Problem, Reduction, TargetKind, Want};
use crate::reference::{self, Real, RowGrads, RowIn, RowTarget, RowTwin};
use crate::tensors::{Answer, OwnedTensors, Tensors};

pub(super) const INFO: LossInfo = LossInfo {
    name: "nll_loss",
    type_name: "Nll",
    pytorch: "torch.nn.NLLLoss",
    formula: "-w_t x_t",
    from_options: |options| Nll::from_options(options).map(|loss| Box::new(loss) as Box<dyn Loss>),
    params: &[("(size)", 16)],
    variants,
};

/// Negative log-likelihood of log-probabilities x with class index t and class weights w:
///
/// loss = -w_t x_t,  d loss / d x_j = -w_t where j = t, else 0
///
/// For models that end in a log-softmax; [`CrossEntropy`](crate::CrossEntropy) fuses both. Only x_t is read.
///
/// **Shapes.** Input (C), (N, C) or (N, C, d1, ...), or any [`class_axis`](Self::class_axis); class indices without that axis.
/// **Mean** divides by the sum of w_t over the rows that are not ignored.
///
/// **Edges.** x_t = -inf gives +inf, NaN gives NaN, for that row alone. The mean over nothing is NaN with gradient 0. A class index
/// out of range is an error on the host, and in a GPU buffer gives NaN for that row and a status.
///
/// Source: [torch.nn.NLLLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html).
///
/// ```
/// use deeploss::{Context, Loss, Nll};
/// use ndarray::array;
///
/// let log_p = array![[-0.5_f32, -1.5], [-2.0, -0.25]];
/// let out = Nll::new().evaluate(&Context::cpu(), log_p.view(), array![0_u8, 1].view())?;
/// assert_eq!(out.scalar(), Some((0.5 + 0.25) / 2.0));
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Nll {
    classes: Classes,
}

impl Nll {
    /// Mean reduction, no weights, index -100 ignored.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    class_builders!(weight, ignore);

    fn from_options(options: &Options) -> Result<Self, Error> {
        options.only(&["weight", "ignore_index", "reduction"])?;
        Ok(Self { classes: Classes::default().with_options(options)? })
    }
}

fn variants(classes: usize) -> Vec<Box<dyn Loss>> {
    vec![Box::new(Nll::new()), Box::new(Nll::new().weight(sample_weight(classes)).ignore_index(1))]
}

impl Loss for Nll {
    fn info(&self) -> &'static LossInfo {
        &INFO
    }

    fn kernel(&self, problem: &Problem) -> Result<Kernel, Error> {
        let takes = Takes { indices: true, counted: true, ..Takes::default() };
        self.classes.kernel(problem, part!("losses/nll.wgsl"), takes, &[0; 16])
    }

    fn with_reduction(&self, reduction: Reduction) -> Box<dyn Loss> {
        Box::new(self.clone().reduction(reduction))
    }

    fn ignores(&self, target: i64) -> bool {
        self.classes.ignore.contains(&target)
    }

    fn sample(&self, shape: &[usize], seed: u64) -> OwnedTensors {
        self.classes.sample(shape, seed, TargetKind::Indices)
    }
}

impl<F: Real> Twin<F> for Nll {
    fn compute(&self, kernel: &Kernel, tensors: &Tensors<'_, F>, want: Want) -> Answer<F> {
        reference::rows(self, kernel, tensors, want)
    }
}

impl<F: Real> RowTwin<F> for Nll {
    #[inline(always)]
    fn row<const BITS: usize>(&self, row: &RowIn<'_, F>, grads: &mut RowGrads<'_, F>) -> F {
        let RowTarget::Class(t) = row.target else { return F::nan() };
        let w = row.weight[t];
        if let Some(grad) = &mut grads.input {
            grad.values()[t] = -row.scale * w;
        }
        -w * row.logits[t]
    }
}
