//! Softmax focal loss.

use bytemuck::{Pod, Zeroable};

use super::options::{not_negative, share};
use super::row_loss::{RowOptions, RowSupports, example_weight, row_loss};
#[cfg(feature = "host")]
use crate::cpu::{self, Real, RowGrads, RowIn, RowReference, RowTarget, Sums};
use crate::error::Error;
use crate::problem::Problem;
use crate::wgsl::{Flags, flags};

row_loss! {
    SoftmaxFocal {
        name: "softmax_focal_loss",
        pytorch: "(none)",
        formula: "-sum_c a_c (1 - p_c)^g log p_c, p = softmax x",
        wgsl: "losses/softmax_focal.wgsl",
        params: [gamma, hard, soft],
        options: [gamma, label_smoothing],
        shared: [weight, ignore],
        supports: // The mean counts rows; their balance is part of the loss.
            RowSupports { indices: true, counted: true, peak: true, second_pass: true, ..RowSupports::NONE },
        examples: |loss, shape, seed| loss.rows.example_inputs(shape, seed, crate::TargetKind::Indices),
    }
}

/// Softmax focal loss of rows of logits x with class index t, focus g, class balance w and label smoothing e:
/// cross-entropy in which easy rows count less, for imbalanced classes. With p = softmax x, q_c = (1 - e) [c = t] + e /
/// C and a_c = w_c q_c:
///
/// loss = -sum_c a_c (1 - p_c)^g log p_c,
/// d loss / d x_j = a_j h_j - p_j sum_c a_c h_c,  h = (1 - p)^g (g p log p / (1 - p) - 1)
///
/// **Shapes.** As [`CrossEntropy`](crate::CrossEntropy) with class indices. **Mean** divides by the number of rows that
/// are not ignored, whatever they weigh.
///
/// **Edges.** Finite for every finite row and every g >= 0, g < 1 included; g = 0 without weights is cross-entropy. A
/// -inf logit has probability 0: as the target (or with smoothing) its loss is +inf. NaN or +inf, or nothing but -inf,
/// makes that row NaN.
///
/// **By hand.** x = (0, 0), t = 0, g = 2: p_t = 1/2, loss = log(2) / 4; h = (2 · log(1/2) - 1) / 4 = -0.59657, gradient
/// (h / 2, -h / 2).
///
/// Explained in [the guide](crate::guide::softmax_focal).
///
/// Source: Lin et al., [arXiv 1708.02002](https://arxiv.org/abs/1708.02002), with softmax in place of sigmoid.
///
/// ```
/// use deeploss::{Context, Evaluate, SoftmaxFocal, Tensors};
/// use ndarray::array;
///
/// let (x, t) = (array![[0.0_f32, 0.0]], array![0_i64]);
/// let out = SoftmaxFocal::new().evaluate(&Context::cpu(), &Tensors::new(x.view(), t.view()))?;
/// assert!((out.scalar().unwrap() - std::f32::consts::LN_2 / 4.0).abs() < 1e-7);
/// assert!((out.grad_input.unwrap()[[0, 1]] - 0.298_287).abs() < 1e-6);
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SoftmaxFocal {
    rows: RowOptions,
    gamma: f32,
    label_smoothing: f32,
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
        Self { rows: RowOptions::new(), gamma: 2.0, label_smoothing: 0.0 }
    }

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

    fn pieces(&self, _: &Problem, classes: usize) -> Result<(Params, Flags), Error> {
        let e = share("label_smoothing", self.label_smoothing)?;
        let gamma = not_negative("gamma", self.gamma)?;
        let params = Params { gamma, hard: 1.0 - e, soft: e / classes as f32, spare: 0 };
        Ok((params, flags! { SMOOTHING: e > 0.0 }))
    }
}

fn variants(classes: usize) -> Vec<SoftmaxFocal> {
    let base = SoftmaxFocal::new;
    vec![
        base(),
        base().gamma(0.5).weight(example_weight(classes)),
        base().gamma(1.3).label_smoothing(0.1).ignore_index(0),
    ]
}

/// What a row's classes have in common.
#[cfg(feature = "host")]
struct Terms<F> {
    half_m: F,
    d: F,
    half_log_d: F,
    gamma: F,
}

#[cfg(feature = "host")]
impl<F: Real> Terms<F> {
    /// p, (1 - p)^g (-log p) / 2, h of a class with 1 - p.
    #[inline(always)]
    fn of(&self, v: F, left: F) -> (F, F, F) {
        let half_below_max = self.half_m - F::of(0.5) * v;
        let p = (-half_below_max).exp_twice() / self.d;
        let half_cost = half_below_max + self.half_log_d;
        let focus = left.unit_power(self.gamma);
        let slope = if p == F::zero() { F::zero() } else { -F::of(2.0) * (p * half_cost / left) };
        let slope = if left < F::of(1e-30) { -F::one() } else { slope };
        (p, focus * half_cost, focus * (self.gamma * slope - F::one()))
    }
}

#[cfg(feature = "host")]
impl<F: Real> RowReference<F> for SoftmaxFocal {
    #[inline(always)]
    fn row<const BITS: usize>(&self, row: &RowIn<'_, F>, grads: &mut RowGrads<'_, F>) -> F {
        let RowTarget::Class(t) = row.target else { return F::nan() };
        let x = row.logits;
        let (zero, one, half) = (F::zero(), F::one(), F::of(0.5));
        let half_m = half * cpu::largest(x);
        let exp = |v: F| (half * v - half_m).exp_twice();
        // The exponentials stay in the row's gradient, all but the target's.
        let [s, e_t] = cpu::sum_but(Some(t), x, grads.input.as_mut(), exp);
        let d = s + e_t;
        // NaN or +inf among the logits, or nothing but -inf.
        if d.is_nan() {
            grads.fill_nan();
            return F::nan();
        }
        let log_d = if e_t == one { s.log1p() } else { d.log_any() };
        let e = F::of(f64::from(self.label_smoothing));
        let (soft, gamma) = (e / F::of(x.len() as f64), F::of(f64::from(self.gamma)));
        let terms = Terms { half_m, d, half_log_d: half * log_d, gamma };
        let rest = |v: F| cpu::relu(one - exp(v) / d);
        // What a class other than t adds to the loss and to sum h; one without a share adds nothing, whatever it holds.
        let spread = |[v, w]: [F; 2]| {
            let (share, (_, half_cost, h)) = (w * soft, terms.of(v, rest(v)));
            if share == zero { [zero; 2] } else { [share * half_cost, share * h] }
        };
        let (_, own_half_cost, own_h) = terms.of(x[t], s / d);
        let own_share = row.weight[t] * (soft + (one - e));
        let own = if own_share == zero { [zero; 2] } else { [own_share * own_half_cost, own_share * own_h] };
        let [mut half_loss, mut h_sum] = own;
        if soft > zero {
            let mut others = Sums::new();
            for part in [0..t, t + 1..x.len()] {
                others.add([&x[part.clone()], &row.weight[part]], spread);
            }
            let [others_half_loss, others_h] = others.totals();
            half_loss += others_half_loss;
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
                cpu::update(grad, [x], |e, _| row.scale * (zero - e / d * h_sum));
                grad[t] = row.scale * h_sum * (s / d);
            }
        }
        half_loss + half_loss
    }

    fn ignores(&self, target: i64) -> bool {
        self.rows.ignore.contains(&target)
    }
}
