//! Hinge embedding loss.

use bytemuck::{Pod, Zeroable};

use super::items::{Items, Takes, item_builders, item_loss, sample, sign};
use super::{Loss, LossInfo, Options, Twin, params};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::problem::Want;
use crate::reference::{self, ItemIn, ItemOut, ItemTwin, Real};
use crate::tensors::{Answer, OwnedTensors, Tensors};

pub(super) const INFO: LossInfo = LossInfo {
    name: "hinge_embedding_loss",
    type_name: "HingeEmbedding",
    pytorch: "torch.nn.HingeEmbeddingLoss",
    formula: "x where t = 1, max(0, m - x) where t = -1",
    from_options: |options| HingeEmbedding::from_options(options).map(|loss| Box::new(loss) as Box<dyn Loss>),
    params: params!(Params: margin),
    variants,
};

/// Hinge embedding loss of distances x with targets t = ±1 (similar, dissimilar) and margin m:
///
/// loss = x where t = 1, max(0, m - x) where t = -1;  d loss / d x = 1, or -1 where m - x > 0, else 0
///
/// **Shapes.** Distances of any shape, targets of the same. **Mean** divides by the number of elements.
///
/// **Edges.** A target that is neither 1 nor -1 adds both parts, as in PyTorch. A NaN distance has loss NaN; its gradient is 0 where
/// t = -1. At the corner the gradient is 0.
///
/// Source: [torch.nn.HingeEmbeddingLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.HingeEmbeddingLoss.html).
///
/// ```
/// use deeploss::{Context, HingeEmbedding, Loss};
/// use ndarray::array;
///
/// let (distance, t) = (array![0.75_f32, 0.5], array![1.0_f32, -1.0]);
/// let out = HingeEmbedding::new().evaluate(&Context::cpu(), distance.view(), t.view())?;
/// assert_eq!(out.scalar(), Some((0.75 + 0.5) / 2.0));
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct HingeEmbedding {
    items: Items,
    margin: f32,
}

impl Default for HingeEmbedding {
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

impl HingeEmbedding {
    /// Margin 1.0, mean reduction.
    #[must_use]
    pub fn new() -> Self {
        Self { items: Items::default(), margin: 1.0 }
    }

    /// The margin m; 1.0 by default.
    #[must_use]
    pub fn margin(mut self, margin: f32) -> Self {
        self.margin = margin;
        self
    }

    item_builders!();

    fn from_options(options: &Options) -> Result<Self, Error> {
        options.only(&["margin", "reduction"])?;
        let margin = options.number("margin")?.map_or(1.0, |margin| margin as f32);
        Ok(Self { items: Items::from_options(options)?, margin })
    }

    fn params(&self) -> Result<Params, Error> {
        if !self.margin.is_finite() {
            return Err(Error::value("margin", "a finite number", self.margin));
        }
        Ok(Params { margin: self.margin, spare: [0; 3] })
    }

    fn draw(&self, shape: &[usize], seed: u64) -> OwnedTensors {
        sample(shape, seed, sign)
    }
}

fn variants(_: usize) -> Vec<Box<dyn Loss>> {
    vec![Box::new(HingeEmbedding::new()), Box::new(HingeEmbedding::new().margin(0.5))]
}

item_loss!(HingeEmbedding, "losses/hinge_embedding.wgsl", Takes::default());

impl<F: Real> Twin<F> for HingeEmbedding {
    fn compute(&self, kernel: &Kernel, tensors: &Tensors<'_, F>, want: Want) -> Answer<F> {
        reference::items(self, kernel, tensors, want)
    }
}

impl<F: Real> ItemTwin<F> for HingeEmbedding {
    #[inline(always)]
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F> {
        let (zero, one) = (F::zero(), F::one());
        let z = F::of(f64::from(self.margin)) - item.x;
        // Of the two parts, which count.
        let (near, far) = (item.t != -one, item.t != one);
        let loss = if near { item.x } else { zero } + if far { reference::relu(z) } else { zero };
        let dx = if near { one } else { zero } - if far && z > zero { one } else { zero };
        ItemOut { loss, dx, d_second: zero }
    }
}
