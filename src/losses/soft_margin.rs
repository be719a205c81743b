//! Soft margin loss.

use super::items::{Items, Takes, item_builders, item_loss, sample, sign};
use super::{Loss, LossInfo, Options, Twin};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::problem::Want;
use crate::reference::{self, ItemIn, ItemOut, ItemTwin, Real};
use crate::tensors::{Answer, OwnedTensors, Tensors};

pub(super) const INFO: LossInfo = LossInfo {
    name: "soft_margin_loss",
    type_name: "SoftMargin",
    pytorch: "torch.nn.SoftMarginLoss",
    formula: "log(1 + exp(-t x))",
    from_options: |options| SoftMargin::from_options(options).map(|loss| Box::new(loss) as Box<dyn Loss>),
    params: &[("(size)", 16)],
    variants,
};

/// Soft margin (logistic) loss of scores x with targets t = ±1:
///
/// loss = log(1 + exp(-t x)),  d loss / d x = -t sigmoid(-t x)
///
/// **Shapes.** Scores of any shape, targets of the same. **Mean** divides by the number of elements. Any real t is accepted.
///
/// **Edges.** Finite for every finite t x, where PyTorch overflows to inf or NaN. NaN gives NaN, in the gradient too.
///
/// Source: [torch.nn.SoftMarginLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.SoftMarginLoss.html).
///
/// ```
/// use deeploss::{Context, Loss, SoftMargin};
/// use ndarray::array;
///
/// let out = SoftMargin::new().evaluate(&Context::cpu(), array![-200.0_f32].view(), array![1.0_f32].view())?;
/// assert_eq!(out.scalar(), Some(200.0));
/// assert_eq!(out.grad_input.unwrap(), array![-1.0].into_dyn());
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SoftMargin {
    items: Items,
}

impl SoftMargin {
    /// Mean reduction.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    item_builders!();

    fn from_options(options: &Options) -> Result<Self, Error> {
        options.only(&["reduction"])?;
        Ok(Self { items: Items::from_options(options)? })
    }

    fn params(&self) -> Result<[u32; 4], Error> {
        Ok([0; 4])
    }

    fn draw(&self, shape: &[usize], seed: u64) -> OwnedTensors {
        sample(shape, seed, sign)
    }
}

fn variants(_: usize) -> Vec<Box<dyn Loss>> {
    vec![Box::new(SoftMargin::new())]
}

item_loss!(SoftMargin, "losses/soft_margin.wgsl", Takes::default());

impl<F: Real> Twin<F> for SoftMargin {
    fn compute(&self, kernel: &Kernel, tensors: &Tensors<'_, F>, want: Want) -> Answer<F> {
        reference::items(self, kernel, tensors, want)
    }
}

impl<F: Real> ItemTwin<F> for SoftMargin {
    #[inline(always)]
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F> {
        let z = -item.t * item.x;
        ItemOut { loss: reference::softplus(z), dx: -item.t * reference::sigmoid(z), d_second: F::zero() }
    }
}
