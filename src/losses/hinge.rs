//! Hinge loss.

use bytemuck::{Pod, Zeroable};

use super::items::{Items, Takes, item_builders, item_loss, sample, sign};
use super::{Loss, LossInfo, Options, Twin, params};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::problem::Want;
use crate::reference::{self, ItemIn, ItemOut, ItemTwin, Real};
use crate::tensors::{Answer, OwnedTensors, Tensors};

pub(super) const INFO: LossInfo = LossInfo {
    name: "hinge_loss",
    type_name: "Hinge",
    pytorch: "(none; sklearn.metrics.hinge_loss)",
    formula: "max(0, m - t x)",
    from_options: |options| Hinge::from_options(options).map(|loss| Box::new(loss) as Box<dyn Loss>),
    params: params!(Params: margin),
    variants,
};

/// Hinge loss of scores x with targets t = ±1 and margin m, the loss of a linear support vector machine:
///
/// loss = max(0, m - t x),  d loss / d x = -t where m - t x > 0, else 0 (at the corner too)
///
/// **Shapes.** Scores of any shape, targets of the same. **Mean** divides by the number of elements. Any real t is accepted.
///
/// **Edges.** A NaN score has loss NaN and gradient 0. The mean over nothing is NaN.
///
/// Source: Cortes & Vapnik, Support-vector networks, 1995.
///
/// ```
/// use deeploss::{Context, Hinge, Loss};
/// use ndarray::array;
///
/// let out = Hinge::new().evaluate(&Context::cpu(), array![0.25_f32, -2.0].view(), array![1.0_f32, -1.0].view())?;
/// assert_eq!(out.scalar(), Some(0.375));
/// assert_eq!(out.grad_input.unwrap(), array![-0.5, 0.0].into_dyn());
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Hinge {
    items: Items,
    margin: f32,
}

impl Default for Hinge {
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

impl Hinge {
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
    vec![Box::new(Hinge::new()), Box::new(Hinge::new().margin(0.25))]
}

item_loss!(Hinge, "losses/hinge.wgsl", Takes::default());

impl<F: Real> Twin<F> for Hinge {
    fn compute(&self, kernel: &Kernel, tensors: &Tensors<'_, F>, want: Want) -> Answer<F> {
        reference::items(self, kernel, tensors, want)
    }
}

impl<F: Real> ItemTwin<F> for Hinge {
    #[inline(always)]
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F> {
        let z = F::of(f64::from(self.margin)) - item.t * item.x;
        let dx = if z > F::zero() { -item.t } else { F::zero() };
        ItemOut { loss: reference::relu(z), dx, d_second: F::zero() }
    }
}
