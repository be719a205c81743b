//! Margin ranking loss.

use bytemuck::{Pod, Zeroable};

use super::items::{Items, Takes, item_builders, item_loss, sample, sign};
use super::{Loss, LossInfo, Options, Twin, params};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::problem::Want;
use crate::reference::{self, ItemIn, ItemOut, ItemTwin, Real};
use crate::tensors::{Answer, OwnedTensors, Tensors};

pub(super) const INFO: LossInfo = LossInfo {
    name: "margin_ranking_loss",
    type_name: "MarginRanking",
    pytorch: "torch.nn.MarginRankingLoss",
    formula: "max(0, m - t (x1 - x2))",
    from_options: |options| MarginRanking::from_options(options).map(|loss| Box::new(loss) as Box<dyn Loss>),
    params: params!(Params: margin),
    variants,
};

/// Margin ranking loss of two scores x1, x2 with targets t = ±1 (1: x1 should be the larger) and margin m:
///
/// loss = max(0, m - t (x1 - x2)),  d loss / d x1 = -t where that is > 0, else 0,  d loss / d x2 = -d loss / d x1
///
/// **Shapes.** `input`, `input2` and the target broadcast against each other; gradients have the shape of their tensor. **Mean**
/// divides by the number of elements of the broadcast shape.
///
/// **Edges.** A NaN score has loss NaN and gradient 0. At the corner the gradient is 0.
///
/// Source: [torch.nn.MarginRankingLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.MarginRankingLoss.html).
///
/// ```
/// use deeploss::{Context, Loss, MarginRanking, Tensors, Want};
/// use ndarray::array;
///
/// let (x1, x2, t) = (array![1.0_f32, 0.0], array![0.25_f32, 0.5], array![1.0_f32, 1.0]);
/// let call = Tensors::new(x1.view(), t.view()).input2(x2.view());
/// let out = MarginRanking::new().evaluate_with(&Context::cpu(), &call, Want::LOSS | Want::GRAD | Want::GRAD_INPUT2)?;
/// assert_eq!(out.scalar(), Some(0.25));
/// assert_eq!(out.grad_input2.unwrap(), array![0.0, 0.5].into_dyn());
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MarginRanking {
    items: Items,
    margin: f32,
}

impl Default for MarginRanking {
    fn default() -> Self {
        Self::new()
    }
}

/// `Params` in the WGSL file.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    margin: f32,
    spare: [u32; 3],
}

impl MarginRanking {
    /// Margin 0.0, mean reduction.
    #[must_use]
    pub fn new() -> Self {
        Self { items: Items::default(), margin: 0.0 }
    }

    /// The margin m; 0.0 by default.
    #[must_use]
    pub fn margin(mut self, margin: f32) -> Self {
        self.margin = margin;
        self
    }

    item_builders!();

    fn from_options(options: &Options) -> Result<Self, Error> {
        options.only(&["margin", "reduction"])?;
        let margin = options.number("margin")?.map_or(0.0, |margin| margin as f32);
        Ok(Self { items: Items::from_options(options)?, margin })
    }

    fn params(&self) -> Result<Params, Error> {
        if !self.margin.is_finite() {
            return Err(Error::value("margin", "a finite number", self.margin));
        }
        Ok(Params { margin: self.margin, spare: [0; 3] })
    }

    fn draw(&self, shape: &[usize], seed: u64) -> OwnedTensors {
        let mut tensors = sample(shape, seed, sign);
        tensors.input2 = Some(sample(shape, seed ^ 1, sign).input);
        tensors
    }
}

fn variants(_: usize) -> Vec<Box<dyn Loss>> {
    vec![Box::new(MarginRanking::new()), Box::new(MarginRanking::new().margin(0.5))]
}

item_loss!(MarginRanking, "losses/margin_ranking.wgsl", Takes { input2: true, ..Takes::default() });

impl<F: Real> Twin<F> for MarginRanking {
    fn compute(&self, kernel: &Kernel, tensors: &Tensors<'_, F>, want: Want) -> Answer<F> {
        reference::items(self, kernel, tensors, want)
    }
}

impl<F: Real> ItemTwin<F> for MarginRanking {
    #[inline(always)]
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F> {
        let z = F::of(f64::from(self.margin)) - item.t * (item.x - item.second);
        let dx = if z > F::zero() { -item.t } else { F::zero() };
        ItemOut { loss: reference::relu(z), dx, d_second: -dx }
    }
}
