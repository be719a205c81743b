//! Sigmoid focal loss.

use bytemuck::{Pod, Zeroable};

use super::items::{Items, Takes, item_builders, item_loss, sample};
use super::{Loss, LossInfo, Options, Twin, params};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::problem::Want;
use crate::reference::{self, ItemIn, ItemOut, ItemTwin, Real};
use crate::tensors::{Answer, OwnedTensors, Tensors};

pub(super) const INFO: LossInfo = LossInfo {
    name: "sigmoid_focal_loss",
    type_name: "SigmoidFocal",
    pytorch: "torchvision.ops.sigmoid_focal_loss",
    formula: "a_t (1 - p_t)^g ce, p = sigmoid(x)",
    from_options: |options| SigmoidFocal::from_options(options).map(|loss| Box::new(loss) as Box<dyn Loss>),
    params: params!(Params: gamma, alpha),
    variants,
};

/// Sigmoid focal loss of logits x with targets t, balance a and focus g: binary cross-entropy in which easy examples count less.
/// With p = sigmoid(x):
///
/// p_t = p t + (1 - p) (1 - t),  a_t = a t + (1 - a) (1 - t),  ce = (1 - t) softplus(x) + t softplus(-x),
/// loss = a_t (1 - p_t)^g ce,
/// d loss / d x = a_t (1 - p_t)^g (g r ce + (1 - t) p - t (1 - p)),  r = p (1 - p) (1 - 2 t) / (1 - p_t)
///
/// **Shapes.** Logits of any shape, targets of the same. **Mean** divides by the number of elements.
///
/// **Edges.** Finite for every finite logit and every g >= 0, g < 1 included. Unlike torchvision, x = ±inf gives the limit rather
/// than NaN. NaN gives NaN, for that element alone.
///
/// Source: Lin et al., [arXiv 1708.02002](https://arxiv.org/abs/1708.02002); torchvision.ops.sigmoid_focal_loss.
///
/// ```
/// use deeploss::{Context, Loss, SigmoidFocal};
/// use ndarray::array;
///
/// let out = SigmoidFocal::new().evaluate(&Context::cpu(), array![0.0_f32].view(), array![1.0_f32].view())?;
/// assert!((out.scalar().unwrap() - 0.25 * 0.25 * std::f32::consts::LN_2).abs() < 1e-8);
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SigmoidFocal {
    items: Items,
    alpha: Option<f32>,
    gamma: f32,
}

impl Default for SigmoidFocal {
    fn default() -> Self {
        Self::new()
    }
}

/// `Params` in the WGSL file.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    gamma: f32,
    alpha: f32,
    spare: [u32; 2],
}

impl SigmoidFocal {
    /// Balance 0.25, focus 2, mean reduction.
    #[must_use]
    pub fn new() -> Self {
        Self { items: Items::default(), alpha: Some(0.25), gamma: 2.0 }
    }

    /// Weight a of the positives (1 - a of the negatives), 0 ..= 1; `None` weighs all alike. The default 0.25, torchvision's, weighs
    /// positives down: where they are rare and every item counts alike otherwise, choose more than 0.5.
    #[must_use]
    pub fn alpha(mut self, alpha: impl Into<Option<f32>>) -> Self {
        self.alpha = alpha.into();
        self
    }

    /// Focus g >= 0: how much less easy examples count; 0 is plain cross-entropy.
    #[must_use]
    pub fn gamma(mut self, gamma: f32) -> Self {
        self.gamma = gamma;
        self
    }

    item_builders!();

    fn from_options(options: &Options) -> Result<Self, Error> {
        options.only(&["alpha", "gamma", "reduction"])?;
        let alpha = options.number("alpha")?.unwrap_or(0.25);
        // torchvision: -1 is off.
        let alpha = (alpha != -1.0).then_some(alpha as f32);
        let gamma = options.number("gamma")?.unwrap_or(2.0) as f32;
        Ok(Self { items: Items::from_options(options)?, alpha, gamma })
    }

    fn params(&self) -> Result<Params, Error> {
        if let Some(alpha) = self.alpha.filter(|alpha| !(0.0..=1.0).contains(alpha)) {
            return Err(Error::value("alpha", "a number in 0 ..= 1, or none", alpha));
        }
        if !(self.gamma >= 0.0 && self.gamma.is_finite()) {
            return Err(Error::value("gamma", "a finite number >= 0", self.gamma));
        }
        Ok(Params { gamma: self.gamma, alpha: self.alpha.unwrap_or(-1.0), spare: [0; 2] })
    }

    fn draw(&self, shape: &[usize], seed: u64) -> OwnedTensors {
        sample(shape, seed, |rng| if rng.below(4) == 0 { rng.uniform() } else { rng.below(2) as f32 })
    }
}

fn variants(_: usize) -> Vec<Box<dyn Loss>> {
    let base = SigmoidFocal::new;
    vec![Box::new(base()), Box::new(base().alpha(None).gamma(0.5)), Box::new(base().alpha(0.6).gamma(2.7))]
}

item_loss!(
    SigmoidFocal,
    "losses/sigmoid_focal.wgsl",
    Takes { mask: true, ..Takes::default() },
    flags: |loss: &Self| vec![("WHOLE_GAMMA", loss.gamma <= 7.0 && loss.gamma.fract() == 0.0)]
);

impl<F: Real> Twin<F> for SigmoidFocal {
    fn compute(&self, kernel: &Kernel, tensors: &Tensors<'_, F>, want: Want) -> Answer<F> {
        reference::items(self, kernel, tensors, want)
    }
}

impl<F: Real> ItemTwin<F> for SigmoidFocal {
    #[inline(always)]
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F> {
        let (one, half) = (F::one(), F::of(0.5));
        let t = item.t;
        // An infinite logit stands for the limit: the largest finite one has the same p and q.
        let x = item.x.max(-F::max_value()).min(F::max_value());
        let x = if item.x.is_nan() || !t.is_finite() { F::nan() } else { x };
        let (p, q) = (reference::sigmoid(x), reference::sigmoid(-x));
        let left = p * (one - t) + q * t;
        let alpha = self.alpha.map(|alpha| F::of(f64::from(alpha)));
        let balance = alpha.map_or(one, |alpha| alpha * t + (one - alpha) * (one - t));
        let gamma = F::of(f64::from(self.gamma));
        let factor = balance * left.powf(gamma);
        let ce = (one - t) * x.max(F::zero()) + t * (-x).max(F::zero()) + reference::decay(x).log1p_series();
        let loss = if item.x.is_infinite() {
            let coefficient = factor * if item.x > F::zero() { one - t } else { t };
            if coefficient == F::zero() { F::zero() } else { coefficient * F::infinity() }
        } else {
            factor * ce
        };
        let ratio = if left > F::zero() {
            p * q * (one - t - t) / left
        } else if t < half {
            q
        } else {
            -p
        };
        ItemOut { loss, dx: factor * (gamma * ratio * ce + ((one - t) * p - t * q)), d_second: F::zero() }
    }
}
