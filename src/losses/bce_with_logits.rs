//! Binary cross-entropy of logits.

use bytemuck::{Pod, Zeroable};

use super::item_loss::{ItemOptions, ItemSupports, item_loss};
use super::options::share;
use super::row_loss::example_weight;
#[cfg(feature = "host")]
use crate::cpu::{self, ItemIn, ItemOut, ItemReference, Real};
use crate::error::Error;
use crate::wgsl::Flags;

item_loss! {
    BceWithLogits {
        name: "binary_cross_entropy_with_logits",
        pytorch: "torch.nn.BCEWithLogitsLoss",
        formula: "w ((1 - y) softplus(x) + p y softplus(-x)), y = (1 - e) t + e / 2",
        wgsl: "losses/bce_with_logits.wgsl",
        params: [hard, soft],
        options: [label_smoothing],
        shared: [weight, pos_weight],
        supports: ItemSupports { grad_target: true, mask: true, ..ItemSupports::NONE },
        examples: |_loss, shape, seed| super::item_loss::example_inputs(shape, seed, super::item_loss::soft_label),
    }
}

/// Binary cross-entropy of logits x with targets t (soft ones too), weights w, weights p of the positive part and label
/// smoothing e:
///
/// y = (1 - e) t + e / 2,  loss = w ((1 - y) softplus(x) + p y softplus(-x)),
/// d loss / d x = w ((1 - y) sigmoid(x) - p y sigmoid(-x)),  d loss / d t = (1 - e) w (p softplus(-x) - softplus(x))
///
/// **Shapes.** Logits of any shape, targets of the same; `weight` and `pos_weight` broadcast to it and are read in
/// place. **Mean** divides by the number of elements; of those not masked, if an
/// [`ignore_mask`](crate::Tensors::ignore_mask) is given.
///
/// **Edges.** Unlike PyTorch, x = ±inf gives the limit (0 where the infinite term's coefficient is 0, and a finite
/// gradient) rather than NaN. NaN gives NaN, for that element alone. Masked elements are ignored, whatever they hold.
///
/// Source:
/// [torch.nn.BCEWithLogitsLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html).
///
/// Explained in [the guide](crate::guide::bce_with_logits).
///
/// ```
/// use deeploss::{BceWithLogits, Context, Evaluate, Tensors};
/// use ndarray::array;
///
/// let (x, t) = (array![[0.0_f32, 40.0]], array![[1.0_f32, 1.0]]);
/// let out = BceWithLogits::new().evaluate(&Context::cpu(), &Tensors::new(x.view(), t.view()))?;
/// assert!((out.scalar().unwrap() - std::f32::consts::LN_2 / 2.0).abs() < 1e-7);
/// assert!(out.grad_input.unwrap()[[0, 1]] < 0.0);                // -exp(-40) / 2: not lost
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BceWithLogits {
    items: ItemOptions,
    label_smoothing: f32,
}

/// `Params` in the WGSL file.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    hard: f32,
    soft: f32,
    spare: [u32; 2],
}

impl BceWithLogits {
    /// No weights, no smoothing, mean reduction.
    #[must_use]
    pub fn new() -> Self {
        Self { items: ItemOptions::new(), label_smoothing: 0.0 }
    }

    /// Share e of a target's weight that moves to the middle: y = (1 - e) t + e / 2.
    #[must_use]
    pub fn label_smoothing(mut self, e: f32) -> Self {
        self.label_smoothing = e;
        self
    }

    fn pieces(&self) -> Result<(Params, Flags), Error> {
        let e = share("label_smoothing", self.label_smoothing)?;
        Ok((Params { hard: 1.0 - e, soft: 0.5 * e, spare: [0; 2] }, Flags::NONE))
    }
}

fn variants(classes: usize) -> Vec<BceWithLogits> {
    let (base, weight) = (BceWithLogits::new, example_weight(classes));
    vec![base(), base().pos_weight(weight.clone()), base().weight(weight).pos_weight(3.0).label_smoothing(0.1)]
}

#[cfg(feature = "host")]
impl<F: Real> ItemReference<F> for BceWithLogits {
    #[inline(always)]
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F> {
        let e = F::of(f64::from(self.label_smoothing));
        let hard = F::one() - e;
        let y = hard * item.t + F::of(0.5) * e;
        let (negative, positive) = (item.w * (F::one() - y), item.w * item.pos_weight * y);
        let g = item.g * item.w;
        let (plus, minus) = cpu::logistic(item.x);
        // An infinite softplus counts only with a coefficient.
        let part = |coefficient: F, cost: F| {
            if (coefficient == F::zero()) & cost.is_infinite() { F::zero() } else { coefficient * cost }
        };
        let nan = if item.t.is_finite() { F::zero() } else { F::nan() };
        ItemOut {
            loss: part(negative, plus.cost) + part(positive, minus.cost) + nan,
            dx: g * (F::one() - y) * plus.p - g * item.pos_weight * y * minus.p + nan,
            d_second: (hard * g * item.pos_weight) * minus.cost - (hard * g) * plus.cost,
        }
    }
}
