//! Binary cross-entropy of probabilities.

use super::NoParams as Params;
use super::item_loss::{ItemOptions, ItemSupports, item_loss};
use super::row_loss::example_weight;
use crate::error::Error;
use crate::lowered::Checked;
use crate::wgsl::Flags;
#[cfg(feature = "host")]
use crate::{
    cpu::{HostCall, ItemIn, ItemOut, ItemReference, Real},
    tensors::Target,
};

item_loss! {
    Bce {
        name: "binary_cross_entropy",
        pytorch: "torch.nn.BCELoss",
        formula: "-w (t log x + (1 - t) log(1 - x))",
        wgsl: "losses/bce.wgsl",
        params: [],
        options: [],
        shared: [weight],
        supports: ItemSupports { grad_target: true, mask: true, checked: Some(Checked::Input), ..ItemSupports::NONE },
        examples: |_loss, shape, seed| {
            let mut tensors = super::item_loss::example_inputs(shape, seed, |rng| rng.uniform());
            tensors.input.mapv_inplace(|x| 1.0 / (1.0 + (-0.5 * x).exp()));
            tensors
        },
    }
}

/// Binary cross-entropy of probabilities x with targets t in [0, 1] and weights w, for models that end in a sigmoid;
/// [`BceWithLogits`](crate::BceWithLogits) fuses both and keeps more digits.
///
/// loss = -w (t log x + (1 - t) log(1 - x)), each log at least -100,
/// d loss / d x = w (x - t) / max(x (1 - x), 1e-12),  d loss / d t = w (log(1 - x) - log x), its logs not clamped
///
/// **Shapes.** Probabilities of any shape, targets of the same, `weight` broadcasts to it. **Mean** divides by the
/// number of elements, not by the weights.
///
/// **Edges.** Inputs and targets outside [0, 1], NaN included, are an error on the host; in GPU buffers such an element
/// has loss NaN, gradient 0, and a status.
///
/// Explained in [the guide](crate::guide::bce).
///
/// Source: [torch.nn.BCELoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html).
///
/// ```
/// use deeploss::{Bce, Context, Evaluate, Tensors};
/// use ndarray::array;
///
/// let (x, t) = (array![0.75_f32, 0.0], array![1.0_f32, 1.0]);
/// let out = Bce::new().evaluate(&Context::cpu(), &Tensors::new(x.view(), t.view()))?;
/// assert!((out.scalar().unwrap() - (0.287_682 + 100.0) / 2.0).abs() < 1e-5);
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Bce {
    items: ItemOptions,
}

impl Bce {
    /// No weights, mean reduction.
    #[must_use]
    pub fn new() -> Self {
        Self { items: ItemOptions::new() }
    }

    fn pieces(&self) -> Result<(Params, Flags), Error> {
        Ok(([0; 4], Flags::NONE))
    }
}

fn variants(classes: usize) -> Vec<Bce> {
    vec![Bce::new(), Bce::new().weight(example_weight(classes))]
}

#[cfg(feature = "host")]
impl<F: Real> ItemReference<F> for Bce {
    #[inline(always)]
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F> {
        let (one, floor) = (F::one(), F::of(-100.0));
        let (x, t) = (item.x, item.t);
        let (log_x, log_rest) = (x.log_any(), (-x).log1p());
        let g = item.g * item.w;
        let dx = g * ((x - t) / (x * (one - x)).max(F::of(1e-12)));
        ItemOut {
            loss: -item.w * (t * log_x.max(floor) + (one - t) * log_rest.max(floor)),
            dx,
            d_second: g * (log_rest - log_x),
        }
    }

    fn check_values(&self, call: &HostCall<'_, F>) -> Result<(), Error> {
        let ignored: Vec<bool> = call.ignore_mask.iter().flatten().copied().collect();
        let is_bad = |i: usize, v: F| !(v >= F::zero() && v <= F::one() || ignored.get(i).copied().unwrap_or(false));
        let refuse = |argument, bad: Option<(usize, F)>| {
            bad.map_or(Ok(()), |(i, v)| {
                Err(Error::value(argument, "probabilities in 0 ..= 1", format!("{v} at element {i}")))
            })
        };
        refuse("input", call.input.find(is_bad))?;
        match &call.target {
            Target::Values(values) => refuse("target", values.iter().copied().enumerate().find(|&(i, v)| is_bad(i, v))),
            Target::Indices(_) => Ok(()),
        }
    }
}
