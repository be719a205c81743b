//! Binary cross-entropy of probabilities.

use super::classes::sample_weight;
use super::items::{Items, Takes, item_builders, item_loss, item_weight_builders, sample};
use super::{Loss, LossInfo, Options, Twin};
use crate::error::Error;
use crate::kernel::{Checked, Kernel};
use crate::problem::Want;
use crate::reference::{self, ItemIn, ItemOut, ItemTwin, Real};
use crate::tensors::{Answer, OwnedTensors, Target, Tensors};

pub(super) const INFO: LossInfo = LossInfo {
    name: "binary_cross_entropy",
    type_name: "Bce",
    pytorch: "torch.nn.BCELoss",
    formula: "-w (t log x + (1 - t) log(1 - x))",
    from_options: |options| Bce::from_options(options).map(|loss| Box::new(loss) as Box<dyn Loss>),
    params: &[("(size)", 16)],
    variants,
};

/// Binary cross-entropy of probabilities x with targets t in [0, 1] and weights w, for models that end in a sigmoid;
/// [`BceWithLogits`](crate::BceWithLogits) fuses both and keeps more digits.
///
/// loss = -w (t log x + (1 - t) log(1 - x)), each log at least -100,
/// d loss / d x = w (x - t) / max(x (1 - x), 1e-12),  d loss / d t = w (log(1 - x) - log x), its logs not clamped
///
/// **Shapes.** Probabilities of any shape, targets of the same, `weight` broadcasts to it. **Mean** divides by the number of
/// elements, not by the weights.
///
/// **Edges.** Inputs and targets outside [0, 1], NaN included, are an error on the host; in GPU buffers such an element has loss NaN,
/// gradient 0, and a status.
///
/// Source: [torch.nn.BCELoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html).
///
/// ```
/// use deeploss::{Bce, Context, Loss};
/// use ndarray::array;
///
/// let out = Bce::new().evaluate(&Context::cpu(), array![0.75_f32, 0.0].view(), array![1.0_f32, 1.0].view())?;
/// assert!((out.scalar().unwrap() - (0.287_682 + 100.0) / 2.0).abs() < 1e-5);
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bce {
    items: Items,
}

impl Bce {
    /// Mean reduction.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    item_builders!();
    item_weight_builders!();

    fn from_options(options: &Options) -> Result<Self, Error> {
        options.only(&["weight", "reduction"])?;
        Ok(Self { items: Items::from_options(options)? })
    }

    fn params(&self) -> Result<[u32; 4], Error> {
        Ok([0; 4])
    }

    fn draw(&self, shape: &[usize], seed: u64) -> OwnedTensors {
        let mut tensors = sample(shape, seed, |rng| rng.uniform());
        tensors.input.mapv_inplace(|x| 1.0 / (1.0 + (-0.5 * x).exp()));
        tensors
    }
}

fn variants(classes: usize) -> Vec<Box<dyn Loss>> {
    let weight = ndarray::Array1::from(sample_weight(classes));
    vec![Box::new(Bce::new()), Box::new(Bce::new().weight(weight.view()))]
}

item_loss!(Bce, "losses/bce.wgsl", Takes { grad_target: true, mask: true, ..Takes::default() }, checked: Checked::Input);

impl<F: Real> Twin<F> for Bce {
    fn compute(&self, kernel: &Kernel, tensors: &Tensors<'_, F>, want: Want) -> Answer<F> {
        reference::items(self, kernel, tensors, want)
    }

    fn check_values(&self, tensors: &Tensors<'_, F>) -> Result<(), Error> {
        let in_range = |v: &F| *v >= F::zero() && *v <= F::one();
        let ignored: Vec<bool> = tensors.ignore_mask.iter().flatten().copied().collect();
        let check = |argument, values: &ndarray::ArrayViewD<'_, F>| {
            let bad = values.iter().enumerate().find(|(i, v)| !in_range(v) && !ignored.get(*i).unwrap_or(&false));
            bad.map_or(Ok(()), |(i, v)| {
                Err(Error::value(argument, "probabilities in 0 ..= 1", format!("{v} at element {i}")))
            })
        };
        check("input", &tensors.input)?;
        match &tensors.target {
            Target::Values(values) => check("target", values),
            Target::Indices(_) => Ok(()),
        }
    }
}

impl<F: Real> ItemTwin<F> for Bce {
    #[inline(always)]
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F> {
        let (one, floor) = (F::one(), F::of(-100.0));
        let (x, t) = (item.x, item.t);
        let (log_x, log_rest) = (x.log_any(), (-x).log1p());
        let dx = item.w * (x - t) / (x * (one - x)).max(F::of(1e-12));
        ItemOut {
            loss: -item.w * (t * log_x.max(floor) + (one - t) * log_rest.max(floor)),
            dx,
            d_second: item.w * (log_rest - log_x),
        }
    }
}
