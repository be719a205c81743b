//! Margin ranking loss.

use super::item_loss::{ItemSupports, margin_loss};
#[cfg(feature = "host")]
use crate::cpu::{self, ItemIn, ItemOut, ItemReference, Real};

margin_loss! {
    /// Margin ranking loss of two scores x1, x2 with targets t = ±1 (1: x1 should be the larger) and margin m:
    ///
    /// loss = max(0, m - t (x1 - x2)),  d loss / d x1 = -t where that is > 0, else 0,  d loss / d x2 = -d loss / d x1
    ///
    /// **Shapes.** `input`, `input2` and the target broadcast against each other; gradients have the shape of their
    /// tensor. **Mean** divides by the number of elements of the broadcast shape.
    ///
    /// **Edges.** A NaN score has loss NaN and gradient 0. At the corner the gradient is 0.
    ///
    /// Source:
    /// [torch.nn.MarginRankingLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.MarginRankingLoss.html).
    ///
    /// Explained in [the guide](crate::guide::margin_ranking).
    ///
    /// ```
    /// use deeploss::{Context, Evaluate, MarginRanking, Tensors, Want};
    /// use ndarray::array;
    ///
    /// let (x1, x2, t) = (array![1.0_f32, 0.0], array![0.25_f32, 0.5], array![1.0_f32, 1.0]);
    /// let call = Tensors::new(x1.view(), t.view()).input2(x2.view()).wants(Want::LOSS | Want::GRAD_INPUT2);
    /// let out = MarginRanking::new().evaluate(&Context::cpu(), &call)?;
    /// assert_eq!(out.scalar(), Some(0.25));
    /// assert_eq!(out.grad_input2.unwrap(), array![0.0, 0.5].into_dyn());
    /// # Ok::<(), deeploss::Error>(())
    /// ```
    MarginRanking {
        name: "margin_ranking_loss",
        pytorch: "torch.nn.MarginRankingLoss",
        formula: "max(0, m - t (x1 - x2))",
        wgsl: "losses/margin_ranking.wgsl",
        margin: 0.0,
        variant: 0.5,
        supports: ItemSupports { input2: true, broadcasts: true, ..ItemSupports::NONE },
    }
}

#[cfg(feature = "host")]
impl<F: Real> ItemReference<F> for MarginRanking {
    #[inline(always)]
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F> {
        // Halves: the difference of two finite floats may overflow.
        let half = F::of(0.5);
        let half_z = half * F::of(f64::from(self.margin)) - item.t * (half * item.x - half * item.second);
        let dx = if half_z > F::zero() { -item.g * item.t } else { F::zero() };
        let half_loss = cpu::relu(half_z);
        ItemOut { loss: half_loss + half_loss, dx, d_second: -dx }
    }
}
