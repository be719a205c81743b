//! Hinge loss.

use super::item_loss::{ItemSupports, margin_loss};
#[cfg(feature = "host")]
use crate::cpu::{self, ItemIn, ItemOut, ItemReference, Real};

margin_loss! {
    /// Hinge loss of scores x with targets t = ±1 and margin m, the loss of a linear support vector machine:
    ///
    /// loss = max(0, m - t x),  d loss / d x = -t where m - t x > 0, else 0 (at the corner too)
    ///
    /// **Shapes.** Scores of any shape, targets of the same. **Mean** divides by the number of elements. Any real t is
    /// accepted.
    ///
    /// **Edges.** A NaN score has loss NaN and gradient 0. The mean of an empty batch is NaN.
    ///
    /// Explained in [the guide](crate::guide::hinge).
    ///
    /// Source: Cortes & Vapnik, Support-vector networks, 1995.
    ///
    /// ```
    /// use deeploss::{Context, Evaluate, Hinge, Tensors};
    /// use ndarray::array;
    ///
    /// let (x, t) = (array![0.25_f32, -2.0], array![1.0_f32, -1.0]);
    /// let out = Hinge::new().evaluate(&Context::cpu(), &Tensors::new(x.view(), t.view()))?;
    /// assert_eq!(out.scalar(), Some(0.375));
    /// assert_eq!(out.grad_input.unwrap(), array![-0.5, 0.0].into_dyn());
    /// # Ok::<(), deeploss::Error>(())
    /// ```
    Hinge {
        name: "hinge_loss",
        pytorch: "(none; sklearn.metrics.hinge_loss)",
        formula: "max(0, m - t x)",
        wgsl: "losses/hinge.wgsl",
        margin: 1.0,
        variant: 0.25,
        supports: ItemSupports::NONE,
    }
}

#[cfg(feature = "host")]
impl<F: Real> ItemReference<F> for Hinge {
    #[inline(always)]
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F> {
        let z = F::of(f64::from(self.margin)) - item.t * item.x;
        let dx = if z > F::zero() { -item.g * item.t } else { F::zero() };
        ItemOut { loss: cpu::relu(z), dx, d_second: F::zero() }
    }
}
