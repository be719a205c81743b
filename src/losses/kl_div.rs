//! Kullback-Leibler divergence.

use super::NoParams as Params;
use super::item_loss::{ItemOptions, ItemSupports, item_loss};
use crate::error::Error;
use crate::wgsl::{Flags, flags};
#[cfg(feature = "host")]
use crate::{
    cpu::{ItemIn, ItemOut, ItemReference, Real},
    tensors::{OwnedTarget, OwnedTensors},
};

item_loss! {
    KlDiv {
        name: "kl_div",
        pytorch: "torch.nn.KLDivLoss",
        formula: "t (log t - x)",
        wgsl: "losses/kl_div.wgsl",
        params: [],
        options: [log_target],
        shared: [],
        supports: ItemSupports { grad_target: true, batch_mean: true, ..ItemSupports::NONE },
        examples: |loss, shape, seed| example_inputs(loss.log_target, shape, seed),
    }
}

/// Kullback-Leibler divergence between log-probabilities x and target probabilities t:
///
/// loss = t (log t - x),  d loss / d x = -t,  d loss / d t = log t + 1 - x
///
/// or, with targets in log space: loss = exp(t) (t - x),  d loss / d x = -exp(t),  d loss / d t = exp(t) (t - x + 1).
///
/// **Shapes.** Log-probabilities of any shape, targets of the same. **Mean** divides by all elements; **BatchMean**,
/// the one that is the divergence of whole rows, by the first dimension.
///
/// **Edges.** t = 0 contributes 0, and its own gradient is NaN as in PyTorch; t < 0 gives NaN; t = 0 with x = -inf
/// gives NaN, as in PyTorch.
///
/// **Accuracy.** Of nearly equal distributions the divergence is the square of a small difference, and log-probabilities
/// are rounded before this loss sees them: no relative accuracy is left. [`KlFromLogits`](crate::KlFromLogits) keeps it.
///
/// Explained in [the guide](crate::guide::kl_div).
///
/// Source: [torch.nn.KLDivLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.KLDivLoss.html).
///
/// ```
/// use deeploss::{Context, Evaluate, KlDiv, Reduction, Tensors};
/// use ndarray::array;
///
/// let (log_p, t) = (array![[0.5_f32.ln(), 0.5_f32.ln()]], array![[1.0_f32, 0.0]]);
/// let loss = KlDiv::new().reduction(Reduction::BatchMean);
/// let out = loss.evaluate(&Context::cpu(), &Tensors::new(log_p.view(), t.view()))?;
/// assert!((out.scalar().unwrap() - std::f32::consts::LN_2).abs() < 1e-6);
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct KlDiv {
    items: ItemOptions,
    log_target: bool,
}

impl KlDiv {
    /// Targets are probabilities; mean reduction.
    #[must_use]
    pub fn new() -> Self {
        Self { items: ItemOptions::new(), log_target: false }
    }

    /// Targets are log-probabilities.
    #[must_use]
    pub fn log_target(mut self, log_target: bool) -> Self {
        self.log_target = log_target;
        self
    }

    fn pieces(&self) -> Result<(Params, Flags), Error> {
        Ok(([0; 4], flags! { LOG_TARGET: self.log_target }))
    }
}

fn variants(_: usize) -> Vec<KlDiv> {
    vec![KlDiv::new(), KlDiv::new().log_target(true)]
}

#[cfg(feature = "host")]
fn example_inputs(log_target: bool, shape: &[usize], seed: u64) -> OwnedTensors {
    let target = |rng: &mut crate::sample::Rng| if rng.below(8) == 0 { 0.0 } else { rng.uniform() };
    let mut tensors = super::item_loss::example_inputs(shape, seed, target);
    tensors.input.mapv_inplace(|x| -x.abs());
    if let (true, OwnedTarget::Values(t)) = (log_target, &mut tensors.target) {
        t.mapv_inplace(|t| -4.0 * t);
    }
    tensors
}

#[cfg(feature = "host")]
impl<F: Real> ItemReference<F> for KlDiv {
    #[inline(always)]
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F> {
        let (x, t) = (item.x, item.t);
        if self.log_target {
            let p = t.exp_any();
            // Halves: the difference of two finite floats may overflow, though p is 0.
            let half = F::of(0.5);
            let half_difference = half * t - half * x;
            let (half_loss, g) = (p * half_difference, item.g * p);
            let half_dt = g * (half_difference + half);
            return ItemOut { loss: half_loss + half_loss, dx: -g, d_second: half_dt + half_dt };
        }
        let loss = if t == F::zero() { -t * x } else { t * (t.log_any() - x) };
        let d_second = if t == F::zero() { F::nan() } else { t.log_any() + F::one() - x };
        ItemOut { loss, dx: -item.g * t, d_second: item.g * d_second }
    }
}
