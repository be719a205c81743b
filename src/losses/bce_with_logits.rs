//! Binary cross-entropy of logits.

use bytemuck::{Pod, Zeroable};
use ndarray::{ArrayView, Dimension};

use super::classes::sample_weight;
use super::items::ItemWeight;
use super::items::{Items, Takes, item_builders, item_loss, item_weight_builders, sample};
use super::{Loss, LossInfo, Options, Twin, params};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::problem::Want;
use crate::reference::{self, ItemIn, ItemOut, ItemTwin, Real};
use crate::tensors::{Answer, OwnedTensors, Tensors};

pub(super) const INFO: LossInfo = LossInfo {
    name: "binary_cross_entropy_with_logits",
    type_name: "BceWithLogits",
    pytorch: "torch.nn.BCEWithLogitsLoss",
    formula: "w ((1 - y) softplus(x) + p y softplus(-x)), y = (1 - e) t + e / 2",
    from_options: |options| BceWithLogits::from_options(options).map(|loss| Box::new(loss) as Box<dyn Loss>),
    params: params!(Params: hard, soft),
    variants,
};

/// Binary cross-entropy of logits x with targets t (soft ones too), weights w, weights p of the positive part and label
/// smoothing e:
///
/// y = (1 - e) t + e / 2,  loss = w ((1 - y) softplus(x) + p y softplus(-x)),
/// d loss / d x = w ((1 - y) sigmoid(x) - p y sigmoid(-x)),  d loss / d t = (1 - e) w (p softplus(-x) - softplus(x))
///
/// **Shapes.** Logits of any shape, targets of the same; `weight` and `pos_weight` broadcast to it and are read in place. **Mean**
/// divides by the number of elements; of those not masked, if an [`ignore_mask`](crate::Tensors::ignore_mask) is given.
///
/// **Edges.** Unlike PyTorch, x = ±inf gives the limit (0 where the infinite term's coefficient is 0, and a finite gradient) rather
/// than NaN. NaN gives NaN, for that element alone. Masked elements count for nothing, whatever they hold.
///
/// Source: [torch.nn.BCEWithLogitsLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html).
///
/// ```
/// use deeploss::{BceWithLogits, Context, Loss};
/// use ndarray::array;
///
/// let (x, t) = (array![[0.0_f32, 40.0]], array![[1.0_f32, 1.0]]);
/// let out = BceWithLogits::new().evaluate(&Context::cpu(), x.view(), t.view())?;
/// assert!((out.scalar().unwrap() - std::f32::consts::LN_2 / 2.0).abs() < 1e-7);
/// assert!(out.grad_input.unwrap()[[0, 1]] < 0.0);                // -exp(-40) / 2: not lost
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BceWithLogits {
    items: Items,
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
        Self::default()
    }

    /// Share e of a target's weight that moves to the middle: y = (1 - e) t + e / 2.
    #[must_use]
    pub fn label_smoothing(mut self, e: f32) -> Self {
        self.label_smoothing = e;
        self
    }

    /// Weights of the positive part, broadcast to the input's shape: (C) weighs each label.
    #[must_use]
    pub fn pos_weight<D: Dimension>(mut self, pos_weight: ArrayView<'_, f32, D>) -> Self {
        self.items.pos_weight = ItemWeight::host(pos_weight);
        self
    }

    /// Weights of the positive part, of this shape, come from [`Buffers::pos_weight`](crate::Buffers::pos_weight).
    #[must_use]
    pub fn pos_weight_from_buffer(mut self, shape: &[usize]) -> Self {
        self.items.pos_weight = ItemWeight::buffer(shape);
        self
    }

    item_builders!();
    item_weight_builders!();

    fn from_options(options: &Options) -> Result<Self, Error> {
        options.only(&["weight", "pos_weight", "label_smoothing", "reduction"])?;
        let label_smoothing = options.number("label_smoothing")?.unwrap_or(0.0) as f32;
        Ok(Self { items: Items::from_options(options)?, label_smoothing })
    }

    fn params(&self) -> Result<Params, Error> {
        let e = self.label_smoothing;
        if !(0.0..=1.0).contains(&e) {
            return Err(Error::value("label_smoothing", "a number in 0 ..= 1", e));
        }
        Ok(Params { hard: 1.0 - e, soft: 0.5 * e, spare: [0; 2] })
    }

    fn draw(&self, shape: &[usize], seed: u64) -> OwnedTensors {
        sample(shape, seed, |rng| if rng.below(4) == 0 { rng.uniform() } else { rng.below(2) as f32 })
    }
}

fn variants(classes: usize) -> Vec<Box<dyn Loss>> {
    let weight = ndarray::Array1::from(sample_weight(classes));
    let base = BceWithLogits::new;
    vec![
        Box::new(base()),
        Box::new(base().pos_weight(weight.view())),
        Box::new(base().weight(weight.view()).pos_weight(ndarray::arr0(3.0).view()).label_smoothing(0.1)),
    ]
}

item_loss!(BceWithLogits, "losses/bce_with_logits.wgsl", Takes { grad_target: true, mask: true, ..Takes::default() });

impl<F: Real> Twin<F> for BceWithLogits {
    fn compute(&self, kernel: &Kernel, tensors: &Tensors<'_, F>, want: Want) -> Answer<F> {
        reference::items(self, kernel, tensors, want)
    }
}

impl<F: Real> ItemTwin<F> for BceWithLogits {
    #[inline(always)]
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F> {
        let e = F::of(f64::from(self.label_smoothing));
        let hard = F::one() - e;
        let y = hard * item.t + F::of(0.5) * e;
        let (negative, positive) = (item.w * (F::one() - y), item.w * item.pos_weight * y);
        let (plus, minus) = reference::logistic(item.x);
        // An infinite softplus counts only with a coefficient.
        let part = |coefficient: F, cost: F| {
            if (coefficient == F::zero()) & cost.is_infinite() { F::zero() } else { coefficient * cost }
        };
        let nan = if item.t.is_finite() { F::zero() } else { F::nan() };
        ItemOut {
            loss: part(negative, plus.cost) + part(positive, minus.cost) + nan,
            dx: negative * plus.p - positive * minus.p + nan,
            d_second: hard * item.w * (item.pos_weight * minus.cost - plus.cost),
        }
    }
}
