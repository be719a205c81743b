//! Sigmoid focal loss.

use bytemuck::{Pod, Zeroable};

use super::item_loss::{ItemOptions, ItemSupports, item_loss};
use super::options::{not_negative, share};
#[cfg(feature = "host")]
use crate::cpu::{self, ItemIn, ItemOut, ItemReference, Real};
use crate::error::Error;
use crate::wgsl::{Flags, flags};

item_loss! {
    SigmoidFocal {
        name: "sigmoid_focal_loss",
        pytorch: "torchvision.ops.sigmoid_focal_loss",
        formula: "a_t (1 - p_t)^g ce, p = sigmoid(x)",
        wgsl: "losses/sigmoid_focal.wgsl",
        params: [gamma, alpha],
        options: [alpha, gamma],
        shared: [],
        supports: ItemSupports { mask: true, ..ItemSupports::NONE },
        examples: |_loss, shape, seed| super::item_loss::example_inputs(shape, seed, super::item_loss::soft_label),
    }
}

/// Sigmoid focal loss of logits x with targets t, balance a and focus g: binary cross-entropy in which easy examples
/// count less. With p = sigmoid(x):
///
/// p_t = p t + (1 - p) (1 - t),  a_t = a t + (1 - a) (1 - t),  ce = (1 - t) softplus(x) + t softplus(-x),
/// loss = a_t (1 - p_t)^g ce,
/// d loss / d x = a_t (1 - p_t)^g (g r ce + (1 - t) p - t (1 - p)),  r = p (1 - p) (1 - 2 t) / (1 - p_t)
///
/// **Shapes.** Logits of any shape, targets of the same. **Mean** divides by the number of elements.
///
/// **Edges.** Finite for every finite logit and every g >= 0, g < 1 included. Unlike torchvision, x = ±inf gives the
/// limit rather than NaN. NaN gives NaN, for that element alone.
///
/// Explained in [the guide](crate::guide::sigmoid_focal).
///
/// Source: Lin et al., [arXiv 1708.02002](https://arxiv.org/abs/1708.02002); torchvision.ops.sigmoid_focal_loss.
///
/// ```
/// use deeploss::{Context, Evaluate, SigmoidFocal, Tensors};
/// use ndarray::array;
///
/// let (x, t) = (array![0.0_f32], array![1.0_f32]);
/// let out = SigmoidFocal::new().evaluate(&Context::cpu(), &Tensors::new(x.view(), t.view()))?;
/// assert!((out.scalar().unwrap() - 0.25 * 0.25 * std::f32::consts::LN_2).abs() < 1e-8);
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SigmoidFocal {
    items: ItemOptions,
    alpha: Option<f32>,
    gamma: f32,
}

/// `Params` in the WGSL file.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    gamma: f32,
    alpha: f32,
    spare: [u32; 2],
}

/// What torchvision and the WGSL file take for no balance.
const NO_BALANCE: f32 = -1.0;

impl SigmoidFocal {
    /// Balance 0.25, focus 2, mean reduction.
    #[must_use]
    pub fn new() -> Self {
        Self { items: ItemOptions::new(), alpha: Some(0.25), gamma: 2.0 }
    }

    /// Weight a of the positives (1 - a of the negatives), 0 ..= 1; `None` (or -1, as in torchvision) weighs all alike.
    /// The default 0.25, torchvision's, weighs positives down: where they are rare and every item counts alike
    /// otherwise, choose more than 0.5.
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

    fn balance(&self) -> Option<f32> {
        self.alpha.filter(|&alpha| alpha != NO_BALANCE)
    }

    fn pieces(&self) -> Result<(Params, Flags), Error> {
        let alpha = self.balance().map_or(Ok(NO_BALANCE), |alpha| share("alpha", alpha))?;
        let gamma = not_negative("gamma", self.gamma)?;
        let flags = flags! { WHOLE_GAMMA: gamma <= 7.0 && gamma.fract() == 0.0 };
        Ok((Params { gamma, alpha, spare: [0; 2] }, flags))
    }
}

fn variants(_: usize) -> Vec<SigmoidFocal> {
    let base = SigmoidFocal::new;
    vec![base(), base().alpha(None).gamma(0.5), base().alpha(0.6).gamma(2.7)]
}

#[cfg(feature = "host")]
impl<F: Real> ItemReference<F> for SigmoidFocal {
    #[inline(always)]
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F> {
        let (one, half) = (F::one(), F::of(0.5));
        let t = item.t;
        // An infinite logit stands for the limit: the largest finite one has the same p and q.
        let x = item.x.max(-F::max_value()).min(F::max_value());
        let x = if item.x.is_nan() || !t.is_finite() { F::nan() } else { x };
        let (p, q) = (cpu::sigmoid(x), cpu::sigmoid(-x));
        let left = p * (one - t) + q * t;
        let alpha = self.balance().map(|alpha| F::of(f64::from(alpha)));
        let balance = alpha.map_or(one, |alpha| alpha * t + (one - alpha) * (one - t));
        let gamma = F::of(f64::from(self.gamma));
        let factor = balance * left.powf(gamma);
        let ce = (one - t) * x.max(F::zero()) + t * (-x).max(F::zero()) + cpu::decay(x).log1p_series();
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
        let dx = item.g * (factor * (gamma * ratio * ce + ((one - t) * p - t * q)));
        ItemOut { loss, dx, d_second: F::zero() }
    }
}
