//! Hinge embedding loss.

use super::item_loss::{ItemSupports, margin_loss};
#[cfg(feature = "host")]
use crate::cpu::{self, ItemIn, ItemOut, ItemReference, Real};

margin_loss! {
    /// Hinge embedding loss of distances x with targets t = ±1 (similar, dissimilar) and margin m:
    ///
    /// loss = x where t = 1, max(0, m - x) where t = -1;  d loss / d x = 1, or -1 where m - x > 0, else 0
    ///
    /// **Shapes.** Distances and targets of any shapes that broadcast against each other; the gradient has the shape of
    /// the distances. **Mean** divides by the number of elements of the broadcast shape.
    ///
    /// **Edges.** A target that is neither 1 nor -1 adds both parts, as in PyTorch. A NaN distance has loss NaN; its
    /// gradient is 0 where t = -1. At the corner the gradient is 0.
    ///
    /// Source:
    /// [torch.nn.HingeEmbeddingLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.HingeEmbeddingLoss.html).
    ///
    /// Explained in [the guide](crate::guide::hinge_embedding).
    ///
    /// ```
    /// use deeploss::{Context, Evaluate, HingeEmbedding, Tensors};
    /// use ndarray::array;
    ///
    /// let (distance, t) = (array![0.75_f32, 0.5], array![1.0_f32, -1.0]);
    /// let out = HingeEmbedding::new().evaluate(&Context::cpu(), &Tensors::new(distance.view(), t.view()))?;
    /// assert_eq!(out.scalar(), Some((0.75 + 0.5) / 2.0));
    /// # Ok::<(), deeploss::Error>(())
    /// ```
    HingeEmbedding {
        name: "hinge_embedding_loss",
        pytorch: "torch.nn.HingeEmbeddingLoss",
        formula: "x where t = 1, max(0, m - x) where t = -1",
        wgsl: "losses/hinge_embedding.wgsl",
        margin: 1.0,
        variant: 0.5,
        supports: ItemSupports { broadcasts: true, ..ItemSupports::NONE },
    }
}

#[cfg(feature = "host")]
impl<F: Real> ItemReference<F> for HingeEmbedding {
    #[inline(always)]
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F> {
        let (zero, one) = (F::zero(), F::one());
        let z = F::of(f64::from(self.margin)) - item.x;
        // Of the two parts, which count.
        let (near, far) = (item.t != -one, item.t != one);
        let loss = if near { item.x } else { zero } + if far { cpu::relu(z) } else { zero };
        let slope = if near { one } else { zero } - if far && z > zero { one } else { zero };
        ItemOut { loss, dx: item.g * slope, d_second: zero }
    }
}
