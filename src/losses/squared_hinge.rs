//! Squared hinge loss.

use super::item_loss::{ItemSupports, margin_loss};
#[cfg(feature = "host")]
use crate::cpu::{self, ItemIn, ItemOut, ItemReference, Real};

margin_loss! {
    /// Squared hinge loss of scores x with targets t = ±1 and margin m: smooth at the corner, harder on outliers than
    /// [`Hinge`](crate::Hinge).
    ///
    /// loss = max(0, m - t x)²,  d loss / d x = -2 t max(0, m - t x)
    ///
    /// **Shapes.** Scores of any shape, targets of the same. **Mean** divides by the number of elements. Any real t is
    /// accepted.
    ///
    /// **Edges.** A NaN score has loss NaN and gradient 0. The mean of an empty batch is NaN.
    ///
    /// Explained in [the guide](crate::guide::squared_hinge).
    ///
    /// Source: Lee & Lin, [A study on L2-loss SVM](https://doi.org/10.1162/NECO_a_00466).
    ///
    /// ```
    /// use deeploss::{Context, Evaluate, SquaredHinge, Tensors};
    /// use ndarray::array;
    ///
    /// let (x, t) = (array![0.5_f32, 3.0], array![1.0_f32, 1.0]);
    /// let out = SquaredHinge::new().evaluate(&Context::cpu(), &Tensors::new(x.view(), t.view()))?;
    /// assert_eq!(out.scalar(), Some(0.125));
    /// assert_eq!(out.grad_input.unwrap(), array![-0.5, 0.0].into_dyn());
    /// # Ok::<(), deeploss::Error>(())
    /// ```
    SquaredHinge {
        name: "squared_hinge_loss",
        pytorch: "(none; keras.losses.SquaredHinge)",
        formula: "max(0, m - t x)^2",
        wgsl: "losses/squared_hinge.wgsl",
        margin: 1.0,
        variant: 2.0,
        supports: ItemSupports::NONE,
    }
}

#[cfg(feature = "host")]
impl<F: Real> ItemReference<F> for SquaredHinge {
    #[inline(always)]
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F> {
        let z = cpu::relu(F::of(f64::from(self.margin)) - item.t * item.x);
        let dx = if z > F::zero() { -F::of(2.0) * item.g * item.t * z } else { F::zero() };
        ItemOut { loss: z * z, dx, d_second: F::zero() }
    }
}
