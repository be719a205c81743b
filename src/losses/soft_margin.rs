//! Soft margin loss.

use super::NoParams as Params;
use super::item_loss::{ItemOptions, ItemSupports, item_loss};
#[cfg(feature = "host")]
use crate::cpu::{self, ItemIn, ItemOut, ItemReference, Real};
use crate::error::Error;
use crate::wgsl::Flags;

item_loss! {
    SoftMargin {
        name: "soft_margin_loss",
        pytorch: "torch.nn.SoftMarginLoss",
        formula: "log(1 + exp(-t x))",
        wgsl: "losses/soft_margin.wgsl",
        params: [],
        options: [],
        shared: [],
        supports: ItemSupports::NONE,
        examples: |_loss, shape, seed| super::item_loss::example_inputs(shape, seed, super::item_loss::sign),
    }
}

/// Soft margin (logistic) loss of scores x with targets t = ±1:
///
/// loss = log(1 + exp(-t x)),  d loss / d x = -t sigmoid(-t x)
///
/// **Shapes.** Scores of any shape, targets of the same. **Mean** divides by the number of elements. Any real t is
/// accepted.
///
/// **Edges.** Finite for every finite t x, where PyTorch overflows to inf or NaN. NaN gives NaN, in the gradient too.
///
/// Explained in [the guide](crate::guide::soft_margin).
///
/// Source: [torch.nn.SoftMarginLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.SoftMarginLoss.html).
///
/// ```
/// use deeploss::{Context, Evaluate, SoftMargin, Tensors};
/// use ndarray::array;
///
/// let (x, t) = (array![-200.0_f32], array![1.0_f32]);
/// let out = SoftMargin::new().evaluate(&Context::cpu(), &Tensors::new(x.view(), t.view()))?;
/// assert_eq!(out.scalar(), Some(200.0));
/// assert_eq!(out.grad_input.unwrap(), array![-1.0].into_dyn());
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SoftMargin {
    items: ItemOptions,
}

impl SoftMargin {
    /// Mean reduction.
    #[must_use]
    pub fn new() -> Self {
        Self { items: ItemOptions::new() }
    }

    fn pieces(&self) -> Result<(Params, Flags), Error> {
        Ok(([0; 4], Flags::NONE))
    }
}

fn variants(_: usize) -> Vec<SoftMargin> {
    vec![SoftMargin::new()]
}

#[cfg(feature = "host")]
impl<F: Real> ItemReference<F> for SoftMargin {
    #[inline(always)]
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F> {
        let z = -item.t * item.x;
        ItemOut { loss: cpu::softplus(z), dx: -item.g * (item.t * cpu::sigmoid(z)), d_second: F::zero() }
    }
}
