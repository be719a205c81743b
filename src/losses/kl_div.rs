//! Kullback-Leibler divergence.

use super::items::{Items, Takes, item_builders, item_loss, sample};
use super::{Loss, LossInfo, Options, Twin};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::problem::Want;
use crate::reference::{self, ItemIn, ItemOut, ItemTwin, Real};
use crate::tensors::{Answer, OwnedTarget, OwnedTensors, Tensors};

pub(super) const INFO: LossInfo = LossInfo {
    name: "kl_div",
    type_name: "KlDiv",
    pytorch: "torch.nn.KLDivLoss",
    formula: "t (log t - x)",
    from_options: |options| KlDiv::from_options(options).map(|loss| Box::new(loss) as Box<dyn Loss>),
    params: &[("(size)", 16)],
    variants,
};

/// Kullback-Leibler divergence between log-probabilities x and target probabilities t:
///
/// loss = t (log t - x),  d loss / d x = -t,  d loss / d t = log t + 1 - x
///
/// or, with targets in log space: loss = exp(t) (t - x),  d loss / d x = -exp(t),  d loss / d t = exp(t) (t - x + 1).
///
/// **Shapes.** Log-probabilities of any shape, targets of the same. **Mean** divides by all elements; **BatchMean**, the one that is
/// the divergence of whole rows, by the first dimension.
///
/// **Edges.** t = 0 contributes 0, and its own gradient is NaN as in PyTorch; t < 0 gives NaN; t = 0 with x = -inf gives NaN, as in PyTorch.
///
/// Source: [torch.nn.KLDivLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.KLDivLoss.html).
///
/// ```
/// use deeploss::{Context, KlDiv, Loss, Reduction};
/// use ndarray::array;
///
/// let (log_p, t) = (array![[0.5_f32.ln(), 0.5_f32.ln()]], array![[1.0_f32, 0.0]]);
/// let out = KlDiv::new().reduction(Reduction::BatchMean).evaluate(&Context::cpu(), log_p.view(), t.view())?;
/// assert!((out.scalar().unwrap() - std::f32::consts::LN_2).abs() < 1e-6);
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KlDiv {
    items: Items,
    log_target: bool,
}

impl KlDiv {
    /// Targets are probabilities; mean reduction.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Targets are log-probabilities.
    #[must_use]
    pub fn log_target(mut self, log_target: bool) -> Self {
        self.log_target = log_target;
        self
    }

    item_builders!();

    fn from_options(options: &Options) -> Result<Self, Error> {
        options.only(&["log_target", "reduction"])?;
        Ok(Self { items: Items::from_options(options)?, log_target: options.flag("log_target")?.unwrap_or(false) })
    }

    fn params(&self) -> Result<[u32; 4], Error> {
        Ok([0; 4])
    }

    fn draw(&self, shape: &[usize], seed: u64) -> OwnedTensors {
        let mut tensors = sample(shape, seed, |rng| if rng.below(8) == 0 { 0.0 } else { rng.uniform() });
        tensors.input.mapv_inplace(|x| -x.abs());
        if let (true, OwnedTarget::Values(t)) = (self.log_target, &mut tensors.target) {
            t.mapv_inplace(|t| -4.0 * t);
        }
        tensors
    }
}

fn variants(_: usize) -> Vec<Box<dyn Loss>> {
    vec![Box::new(KlDiv::new()), Box::new(KlDiv::new().log_target(true))]
}

item_loss!(
    KlDiv,
    "losses/kl_div.wgsl",
    Takes { grad_target: true, batch_mean: true, ..Takes::default() },
    flags: |loss: &Self| vec![("LOG_TARGET", loss.log_target)]
);

impl<F: Real> Twin<F> for KlDiv {
    fn compute(&self, kernel: &Kernel, tensors: &Tensors<'_, F>, want: Want) -> Answer<F> {
        reference::items(self, kernel, tensors, want)
    }
}

impl<F: Real> ItemTwin<F> for KlDiv {
    #[inline(always)]
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F> {
        let (x, t) = (item.x, item.t);
        if self.log_target {
            let p = t.exp_any();
            return ItemOut { loss: p * (t - x), dx: -p, d_second: p * (t - x + F::one()) };
        }
        let loss = if t == F::zero() { -t * x } else { t * (t.log_any() - x) };
        let d_second = if t == F::zero() { F::nan() } else { t.log_any() + F::one() - x };
        ItemOut { loss, dx: -t, d_second }
    }
}
