//! Softmax focal loss.

use bytemuck::{Pod, Zeroable};

use super::classes::{Classes, Takes, class_builders, sample_weight};
use super::{Loss, LossInfo, Options, Twin, params};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::link::part;
use crate::problem::{Problem, Reduction, TargetKind, Want};
use crate::reference::{self, Real, RowGrads, RowIn, RowTarget, RowTwin, Sums};
use crate::tensors::{Answer, OwnedTensors, Tensors};

pub(super) const INFO: LossInfo = LossInfo {
    name: "softmax_focal_loss",
    type_name: "SoftmaxFocal",
    pytorch: "(none)",
    formula: "-sum_c a_c (1 - p_c)^g log p_c, p = softmax x",
    from_options: |options| SoftmaxFocal::from_options(options).map(|loss| Box::new(loss) as Box<dyn Loss>),
    params: params!(Params: gamma, hard, soft),
    variants,
};

/// Softmax focal loss of rows of logits x with class index t, focus g, class balance w and label smoothing e: cross-entropy in which
/// easy rows count less, for imbalanced classes. With p = softmax x, q_c = (1 - e) [c = t] + e / C and a_c = w_c q_c:
///
/// loss = -sum_c a_c (1 - p_c)^g log p_c,
/// d loss / d x_j = a_j h_j - p_j sum_c a_c h_c,  h = (1 - p)^g (g p log p / (1 - p) - 1)
///
/// **Shapes.** As [`CrossEntropy`](crate::CrossEntropy) with class indices. **Mean** divides by the number of rows that are not ignored,
/// whatever they weigh.
///
/// **Edges.** Finite for every finite row and every g >= 0, g < 1 included; g = 0 without weights is cross-entropy. A -inf logit has
/// probability 0: as the target (or with smoothing) its loss is +inf. NaN or +inf, or nothing but -inf, makes that row NaN.
///
/// **By hand.** x = (0, 0), t = 0, g = 2: p_t = 1/2, loss = log(2) / 4; h = (2 · log(1/2) - 1) / 4 = -0.59657, gradient (h / 2, -h / 2).
///
/// Source: Lin et al., [arXiv 1708.02002](https://arxiv.org/abs/1708.02002), with softmax in place of sigmoid.
///
/// ```
/// use deeploss::{Context, Loss, SoftmaxFocal};
/// use ndarray::array;
///
/// let out = SoftmaxFocal::new().evaluate(&Context::cpu(), array![[0.0_f32, 0.0]].view(), array![0_i64].view())?;
/// assert!((out.scalar().unwrap() - std::f32::consts::LN_2 / 4.0).abs() < 1e-7);
/// assert!((out.grad_input.unwrap()[[0, 1]] - 0.298_287).abs() < 1e-6);
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SoftmaxFocal {
    classes: Classes,
    gamma: f32,
    label_smoothing: f32,
}

impl Default for SoftmaxFocal {
    fn default() -> Self {
        Self::new()
    }
}

/// `Params` in the WGSL file.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    gamma: f32,
    hard: f32,
    soft: f32,
    spare: u32,
}

impl SoftmaxFocal {
    /// Focus 2, no weights, no smoothing, index -100 ignored, mean reduction.
    #[must_use]
    pub fn new() -> Self {
        Self { classes: Classes::default(), gamma: 2.0, label_smoothing: 0.0 }
    }

    class_builders!(weight, ignore);

    /// Focus g >= 0: how much less easy rows count; 0 is plain cross-entropy.
    #[must_use]
    pub fn gamma(mut self, gamma: f32) -> Self {
        self.gamma = gamma;
        self
    }

    /// Share e of the target's probability that is spread evenly over all classes, 0 ..= 1.
    #[must_use]
    pub fn label_smoothing(mut self, e: f32) -> Self {
        self.label_smoothing = e;
        self
    }

    fn from_options(options: &Options) -> Result<Self, Error> {
        options.only(&["gamma", "weight", "ignore_index", "label_smoothing", "reduction"])?;
        let gamma = options.number("gamma")?.unwrap_or(2.0) as f32;
        let label_smoothing = options.number("label_smoothing")?.unwrap_or(0.0) as f32;
        Ok(Self { classes: Classes::default().with_options(options)?, gamma, label_smoothing })
    }
}

fn variants(classes: usize) -> Vec<Box<dyn Loss>> {
    let base = SoftmaxFocal::new;
    vec![
        Box::new(base()),
        Box::new(base().gamma(0.5).weight(sample_weight(classes))),
        Box::new(base().gamma(1.3).label_smoothing(0.1).ignore_index(0)),
    ]
}

impl Loss for SoftmaxFocal {
    fn info(&self) -> &'static LossInfo {
        &INFO
    }

    fn kernel(&self, problem: &Problem) -> Result<Kernel, Error> {
        let e = self.label_smoothing;
        if !(0.0..=1.0).contains(&e) {
            return Err(Error::value("label_smoothing", "a number in 0 ..= 1", e));
        }
        if !(self.gamma >= 0.0 && self.gamma.is_finite()) {
            return Err(Error::value("gamma", "a finite number >= 0", self.gamma));
        }
        let soft = e / self.classes.count(problem)? as f32;
        let params = Params { gamma: self.gamma, hard: 1.0 - e, soft, spare: 0 };
        let takes = Takes {
            indices: true,
            counted: true,
            revisits: true,
            flags: vec![("SMOOTHING", e > 0.0)],
            ..Takes::default()
        };
        let kernel =
            self.classes.kernel(problem, part!("losses/softmax_focal.wgsl"), takes, bytemuck::bytes_of(&params))?;
        // The mean counts rows; their balance is part of the loss.
        Ok(Kernel { weighs_mean: false, ..kernel })
    }

    fn with_reduction(&self, reduction: Reduction) -> Box<dyn Loss> {
        Box::new(self.clone().reduction(reduction))
    }

    fn ignores(&self, target: i64) -> bool {
        self.classes.ignore.contains(&target)
    }

    fn sample(&self, shape: &[usize], seed: u64) -> OwnedTensors {
        self.classes.sample(shape, seed, TargetKind::Indices)
    }
}

impl<F: Real> Twin<F> for SoftmaxFocal {
    fn compute(&self, kernel: &Kernel, tensors: &Tensors<'_, F>, want: Want) -> Answer<F> {
        reference::rows(self, kernel, tensors, want)
    }
}

/// What a row's classes have in common.
struct Terms<F> {
    half_m: F,
    d: F,
    half_log_d: F,
    gamma: F,
}

impl<F: Real> Terms<F> {
    /// p, (1 - p)^g (-log p), h of a class with 1 - p.
    #[inline(always)]
    fn of(&self, v: F, left: F) -> (F, F, F) {
        let half_lag = self.half_m - F::of(0.5) * v;
        let p = (-half_lag).exp_twice() / self.d;
        let half_cost = half_lag + self.half_log_d;
        let cost = half_cost + half_cost;
        let focus = left.unit_power(self.gamma);
        let slope = if p == F::zero() { F::zero() } else { -p * cost / left };
        let slope = if left < F::of(1e-30) { -F::one() } else { slope };
        (p, focus * cost, focus * (self.gamma * slope - F::one()))
    }
}

impl<F: Real> RowTwin<F> for SoftmaxFocal {
    #[inline(always)]
    fn row<const BITS: usize>(&self, row: &RowIn<'_, F>, grads: &mut RowGrads<'_, F>) -> F {
        let RowTarget::Class(t) = row.target else { return F::nan() };
        let x = row.logits;
        let (zero, one, half) = (F::zero(), F::one(), F::of(0.5));
        let half_m = half * reference::largest(x);
        let exp = |v: F| (half * v - half_m).exp_twice();
        // The exponentials stay in the row's gradient, all but the target's.
        let [s, e_t] = reference::sum_but(Some(t), x, grads.input.as_mut(), exp);
        let d = s + e_t;
        // NaN or +inf among the logits, or nothing but -inf.
        if d.is_nan() {
            grads.poison();
            return F::nan();
        }
        let log_d = if e_t == one { s.log1p() } else { d.log_any() };
        let e = F::of(f64::from(self.label_smoothing));
        let (soft, gamma) = (e / F::of(x.len() as f64), F::of(f64::from(self.gamma)));
        let terms = Terms { half_m, d, half_log_d: half * log_d, gamma };
        let rest = |v: F| reference::relu(one - exp(v) / d);
        // What a class other than t adds to the loss and to sum h; one without a share adds nothing, whatever it holds.
        let spread = |[v, w]: [F; 2]| {
            let (share, (_, cost, h)) = (w * soft, terms.of(v, rest(v)));
            if share == zero { [zero; 2] } else { [share * cost, share * h] }
        };
        let (_, own_cost, own_h) = terms.of(x[t], s / d);
        let own_share = row.weight[t] * (soft + (one - e));
        let own = if own_share == zero { [zero; 2] } else { [own_share * own_cost, own_share * own_h] };
        let [mut loss, mut h_sum] = own;
        if soft > zero {
            let mut others = Sums::new();
            for part in [0..t, t + 1..x.len()] {
                others.add([&x[part.clone()], &row.weight[part]], spread);
            }
            let [others_loss, others_h] = others.totals();
            loss += others_loss;
            h_sum += others_h;
        }
        if let Some(grad) = &mut grads.input {
            let p_t = e_t / d;
            if soft > zero {
                let grad = grad.fill([x, row.weight], |[v, w]| {
                    let (p, _, h) = terms.of(v, rest(v));
                    row.scale * (w * soft * h - p * h_sum)
                });
                grad[t] = row.scale * (own_share * own_h - p_t * h_sum);
            } else {
                let grad = grad.values();
                reference::update(grad, [x], |e, _| row.scale * (zero - e / d * h_sum));
                grad[t] = row.scale * h_sum * (s / d);
            }
        }
        loss
    }
}
