//! Cross-entropy with every option of PyTorch's, and several ignored values, any class axis, a choice for the empty
//! mean.

use bytemuck::{Pod, Zeroable};

use super::options::{finite, positive, quotient, share};
use super::row_loss::{RowOptions, RowSupports, example_weight, row_loss};
#[cfg(feature = "host")]
use crate::cpu::{self, BatchedRows, LANES, Real, RowGrads, RowIn, RowReference, RowStat, RowTarget};
use crate::error::Error;
use crate::problem::{Problem, TargetKind};
use crate::wgsl::{Flags, flags};

row_loss! {
    CrossEntropy {
        name: "cross_entropy",
        pytorch: "torch.nn.CrossEntropyLoss",
        formula: "sum_c w_c q_c (log sum_j exp x_j - x_c), q = (1 - e) y + e / C",
        wgsl: "losses/cross_entropy.wgsl",
        params: [hard, soft, z, inverse_t, bound, cap, inverse_cap],
        options: [label_smoothing, z_loss, softcap, temperature],
        shared: [weight, ignore],
        supports: RowSupports {
            indices: true,
            values: true,
            grad_target: true,
            counted: true,
            weighs_mean: true,
            stats: true,
            peak: true,
            ..RowSupports::NONE
        },
        examples: |loss, shape, seed| loss.rows.example_inputs(shape, seed, loss.example_target),
    }
}

/// Cross-entropy between logits and class indices or class probabilities.
///
/// With logits x of a row, class weights w, label smoothing e, and y the one-hot vector of the class index t or the row
/// of target probabilities:
///
/// q = (1 - e) y + e / C,  loss = sum_c w_c q_c (lse - x_c),  lse = log sum_j exp x_j
///
/// d loss / d x_j = A p_j - w_j q_j,  A = sum_c w_c q_c,  p = softmax x;  d loss / d y_j = (1 - e) w_j (lse - x_j)
///
/// **Shapes.** Logits (C), (N, C) or (N, C, d1, ...), or any axis as [`class_axis`](Self::class_axis); class indices
/// without the class axis, probabilities of the logits' shape.
///
/// **Mean** divides by the sum of w_t over the rows that are not ignored (class indices) or by the number of rows
/// (probabilities). Where there are such rows and the sum is 0, loss and gradient are NaN, unless all weights are 0 and
/// [`on_empty`](Self::on_empty) says otherwise; PyTorch's loss is infinite if the rows lose anything.
///
/// **Edges.** A -inf logit has probability 0 and gradient 0; as the target, its loss is +inf. NaN or +inf, or nothing
/// but -inf, makes that row NaN and no other. (On the GPU -inf is computed as `f32::MIN`: only in a row whose largest
/// logit is exactly `f32::MIN` does it then get probability.) The mean of an empty batch is NaN with gradient 0. Unlike
/// PyTorch: target probability 0 on a -inf logit contributes 0 rather than NaN; an ignored row's gradient is 0 even
/// where its logits are NaN; a class index out of range is an error on the host, and in a GPU buffer gives NaN for that
/// row and a status, with everything else as if it were in range.
///
/// **Beyond PyTorch.** Several ignored indices; a [`sample weight`](crate::Tensors::sample_weight) per row,
/// and a [`mask`](crate::Tensors::ignore_mask) of rows;
/// [`z_loss`](Self::z_loss); [`softcap`](Self::softcap) and [`temperature`](Self::temperature), applied to the logits
/// in this order; any [`class_axis`](Self::class_axis); and with [`Want::STATS`](crate::Want::STATS) log-sum-exp,
/// entropy, argmax and top-1 hit of every row.
///
/// **By hand.** Logits (0, 0), t = 0, z = 0.1: loss = log 2 + 0.1 (log 2)² = 0.74119. Logits (0.549306, 0), t = 1,
/// softcap 1: x = (tanh 0.549306, 0) = (0.5, 0), loss = log(1 + exp 0.5) = 0.97408.
///
/// **Accuracy.** Confident rows keep their digits: with class indices and no smoothing every loss and gradient element
/// is within 2e-6 (relative) of the exact value, down to 1e-12 of the row's largest. An offset of all logits changes
/// nothing, at any temperature.
///
/// Explained in [the guide](crate::guide::cross_entropy).
///
/// Source: [torch.nn.CrossEntropyLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html);
/// the one-pass maximum and sum is Milakov & Gimelshein, [arXiv 1805.02867](https://arxiv.org/abs/1805.02867).
///
/// ```
/// use deeploss::{Context, CrossEntropy, Evaluate, Tensors};
/// use ndarray::array;
///
/// let logits = array![[2.0_f32, 1.0, 0.1], [0.0, 3.0, 0.0]];
/// let targets = array![0_i64, -100];                     // the second row is ignored
/// let out = CrossEntropy::new().evaluate(&Context::cpu(), &Tensors::new(logits.view(), targets.view()))?;
/// assert!((out.scalar().unwrap() - 0.417_03).abs() < 1e-5);
/// assert!(out.grad_input.unwrap().index_axis(ndarray::Axis(0), 1).iter().all(|g| *g == 0.0));
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CrossEntropy {
    rows: RowOptions,
    label_smoothing: f32,
    z_loss: f32,
    softcap: Option<f32>,
    temperature: f32,
    /// What [`Loss::example_inputs`](crate::Loss::example_inputs) draws.
    example_target: TargetKind,
}

/// `Params` in cross_entropy.wgsl.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    hard: f32,
    soft: f32,
    z: f32,
    inverse_t: f32,
    bound: f32,
    cap: f32,
    inverse_cap: f32,
    spare: u32,
}

impl CrossEntropy {
    /// Mean reduction, no weights, no smoothing, index -100 ignored.
    #[must_use]
    pub fn new() -> Self {
        Self {
            rows: RowOptions::new(),
            label_smoothing: 0.0,
            z_loss: 0.0,
            softcap: None,
            temperature: 1.0,
            example_target: TargetKind::Indices,
        }
    }

    /// Share e of the target's probability that is spread evenly over all classes, 0 ..= 1.
    #[must_use]
    pub fn label_smoothing(mut self, e: f32) -> Self {
        self.label_smoothing = e;
        self
    }

    /// Adds z lse² to every row's loss, which keeps the logits from drifting; 0 by default.
    #[must_use]
    pub fn z_loss(mut self, z: f32) -> Self {
        self.z_loss = z;
        self
    }

    /// Caps logits v smoothly at ±s: x = s tanh(v / s). An infinite logit is then finite.
    #[must_use]
    pub fn softcap(mut self, s: impl Into<Option<f32>>) -> Self {
        self.softcap = s.into();
        self
    }

    /// Divides the (capped) logits by T > 0; 1 by default.
    #[must_use]
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.temperature = temperature;
        self
    }

    fn pieces(&self, problem: &Problem, classes: usize) -> Result<(Params, Flags), Error> {
        let e = share("label_smoothing", self.label_smoothing)?;
        let z = finite("z_loss", self.z_loss)?;
        let cap = positive("softcap", self.softcap.unwrap_or(1.0))?;
        let t = positive("temperature", self.temperature)?;
        let probabilities = problem.target == TargetKind::Values;
        if let Some(index) = self.rows.ignore.iter().find(|&&index| probabilities && index >= 0) {
            return Err(Error::value("ignore_index", "none, or a negative one, with target probabilities", index));
        }
        let (hard, soft) = self.shares(classes);
        let (inverse_t, bound) = quotient(t);
        let params =
            Params { hard: hard as f32, soft: soft as f32, z, inverse_t, bound, cap, inverse_cap: 1.0 / cap, spare: 0 };
        let flags = flags! {
            PROBABILITIES: probabilities,
            SMOOTHING: e > 0.0,
            TEMPERED: t != 1.0,
            CAPPED: self.softcap.is_some(),
            Z_LOSS: z != 0.0,
        };
        Ok((params, flags))
    }

    /// Share of the target itself, and of each class besides: 1 - e, e / C.
    fn shares(&self, classes: usize) -> (f64, f64) {
        let e = f64::from(self.label_smoothing);
        (1.0 - e, e / classes as f64)
    }
}

fn variants(classes: usize) -> Vec<CrossEntropy> {
    let base = CrossEntropy::new;
    let soft = || CrossEntropy { example_target: TargetKind::Values, ..base() };
    let weight = || example_weight(classes);
    vec![
        base(),
        base().weight(weight()),
        base().label_smoothing(0.1).ignore_index(0),
        base().label_smoothing(0.3).weight(weight()),
        base().ignore_indices([-1, 1, 2]),
        soft(),
        soft().label_smoothing(0.2).weight(weight()),
        base().z_loss(1e-2).temperature(1.7),
        base().softcap(5.0).z_loss(1e-2).label_smoothing(0.1),
        soft().softcap(4.0).temperature(0.5),
    ]
}

#[cfg(feature = "host")]
impl<F: Real> RowReference<F> for CrossEntropy {
    #[inline(always)]
    fn row<const BITS: usize>(&self, row: &RowIn<'_, F>, grads: &mut RowGrads<'_, F>) -> F {
        // Half of the capped logit, and the derivative of what the softmax sees of it.
        let (half, inverse_t) = (F::of(0.5), F::one() / F::of(f64::from(self.temperature)));
        let Some(cap) = self.softcap.map(|cap| F::of(f64::from(cap))) else {
            return self.row_of(row, grads, |v| half * v, |_| inverse_t);
        };
        let slope = |v: F| {
            let e = (-(v / cap).abs()).exp_twice();
            inverse_t * (F::of(4.0) * e / ((F::one() + e) * (F::one() + e)))
        };
        self.row_of(row, grads, |v| half * (cap * cpu::tanh(v / cap)), slope)
    }

    fn ignores(&self, target: i64) -> bool {
        self.rows.ignore.contains(&target)
    }

    fn takes_batched(&self) -> bool {
        self.softcap.is_none() && self.label_smoothing == 0.0
    }

    /// As in `row_of`, without shares of other classes.
    #[inline(always)]
    fn batched(&self, rows: &mut BatchedRows<'_, F>) -> [F; LANES] {
        let inverse_t = F::one() / F::of(f64::from(self.temperature));
        let (zero, half, z) = (F::zero(), F::of(0.5), F::of(f64::from(self.z_loss)));
        let BatchedRows { classes, target, weight, scale } = rows;
        let mut m = [F::neg_infinity(); LANES];
        for x in classes.iter() {
            for k in 0..LANES {
                m[k] = if x[k] > m[k] { x[k] } else { m[k] };
            }
        }
        let (mut s, mut e_t, mut half_max_minus_target) = ([zero; LANES], [zero; LANES], [zero; LANES]);
        // At most four runs of sixteen classes: rounded 20 times, as in any other row.
        for (first, run) in (0..).step_by(LANES).zip(classes.chunks_mut(LANES)) {
            let mut run_s = [zero; LANES];
            for (c, x) in (first..).zip(run) {
                for k in 0..LANES {
                    let half_below_max = (half * m[k] - half * x[k]) * inverse_t;
                    let e = (-half_below_max).exp_twice();
                    let is_target = target[k] == c;
                    run_s[k] += if is_target { zero } else { e };
                    e_t[k] = if is_target { e } else { e_t[k] };
                    half_max_minus_target[k] = if is_target { half_below_max } else { half_max_minus_target[k] };
                    x[k] = e;
                }
            }
            (0..LANES).for_each(|k| s[k] += run_s[k]);
        }
        let (mut loss, mut scale_p, mut grad_t) = ([zero; LANES], [zero; LANES], [zero; LANES]);
        for k in 0..LANES {
            let d = s[k] + e_t[k];
            let log_d = if half_max_minus_target[k] == zero { s[k].log1p() } else { d.log_any() };
            let half_lse = bounded(half * m[k] * inverse_t + half * log_d);
            let z_lse = (z + z) * half_lse;
            let dz_dlse = bounded(z_lse + z_lse);
            let half_loss = half * weight[k] * log_d + weight[k] * half_max_minus_target[k] + z_lse * half_lse;
            let slope = scale[k] * inverse_t;
            loss[k] = half_loss + half_loss;
            scale_p[k] = slope * (weight[k] + dz_dlse) / d;
            grad_t[k] = slope * (dz_dlse * (e_t[k] / d) - weight[k] * (s[k] / d));
        }
        for (c, x) in classes.iter_mut().enumerate() {
            for k in 0..LANES {
                x[k] = if target[k] == c as u32 { grad_t[k] } else { x[k] * scale_p[k] };
            }
        }
        loss
    }
}

/// A finite number in place of an infinite one, which would make NaN of probability 0.
#[cfg(feature = "host")]
#[inline(always)]
fn bounded<F: Real>(v: F) -> F {
    let v = if v > F::max_value() { F::max_value() } else { v };
    if v < F::min_value() { F::min_value() } else { v }
}

#[cfg(feature = "host")]
impl CrossEntropy {
    #[inline(always)]
    fn row_of<F: Real>(
        &self,
        row: &RowIn<'_, F>,
        grads: &mut RowGrads<'_, F>,
        half_x: impl Fn(F) -> F,
        slope: impl Fn(F) -> F,
    ) -> F {
        let x = row.logits;
        let (hard, soft) = self.shares(x.len());
        let (hard, soft) = (F::of(hard), F::of(soft));
        // A row without probabilities has some other row in their place, which is not looked at.
        let (label, y) = match row.target {
            RowTarget::Class(class) => (Some(class), x),
            RowTarget::Values(y) => (None, y),
            RowTarget::Labels(_) => return F::nan(),
        };
        // q_c without the class index' own share, and a_c = w_c q_c likewise.
        let spread = |y: F| if label.is_some() { soft } else { hard * y + soft };
        let spreads = soft > F::zero() || label.is_none();

        let (zero, half) = (F::zero(), F::of(0.5));
        // Differences are divided by the temperature: a quotient of logits would be rounded at their magnitude.
        let inverse_t = F::one() / F::of(f64::from(self.temperature));
        let half_m = half_x(cpu::largest(x));
        let half_below_max = |v: F| (half_m - half_x(v)) * inverse_t;
        let e = |v: F| (-half_below_max(v)).exp_twice();

        // The exponentials stay in the row's gradient, all but the target's.
        let [s, e_t] = cpu::sum_but(label, x, grads.input.as_mut(), e);
        let half_max_minus_target = label.map_or(zero, |t| half_below_max(x[t]));
        let d = s + e_t;
        // NaN or +inf among the logits, or nothing but -inf.
        if d.is_nan() {
            grads.fill_nan();
            return F::nan();
        }
        let log_d = if label.is_some() && half_max_minus_target == zero { s.log1p() } else { d.log_any() };

        // A and sum a_c (m - x_c) / 2 T: the spread-out part, then the class index' own. Probability 0 on -inf is 0.
        let (mut a, mut half_rest) = (zero, zero);
        if spreads {
            [a, half_rest] = cpu::sums([x, y, row.weight], |[v, y, w]| {
                let q = spread(y);
                [q * w, if q == zero { zero } else { q * w * half_below_max(v) }]
            });
        }
        let spread_a = a;
        let target_weight = label.map_or(zero, |t| hard * row.weight[t]);
        if label.is_some() {
            a += target_weight;
            half_rest += target_weight * half_max_minus_target;
        }
        // z lse^2 and its derivative.
        let (z, half_lse) = (F::of(f64::from(self.z_loss)), bounded(half_m * inverse_t + half * log_d));
        let z_lse = (z + z) * half_lse;
        let dz_dlse = bounded(z_lse + z_lse);
        let half_loss = half * a * log_d + half_rest + z_lse * half_lse;

        if let Some(grad) = &mut grads.input {
            let grad = grad.values();
            let scale_p = row.scale * (a + dz_dlse) / d;
            if spreads {
                cpu::update(grad, [x, y, row.weight], |e, [v, y, w]| {
                    (e * scale_p - row.scale * (spread(y) * w)) * slope(v)
                });
            } else {
                cpu::update(grad, [x], |e, [v]| e * scale_p * slope(v));
            }
            if let Some(t) = label {
                let target_part = -row.scale * target_weight * (s / d);
                let rest = if soft > zero { spread_a * (e_t / d) - soft * row.weight[t] } else { zero };
                grad[t] = (target_part + row.scale * (rest + dz_dlse * (e_t / d))) * slope(x[t]);
            }
        }
        if let Some(grad) = &mut grads.target {
            grad.fill([x, row.weight], |[v, w]| {
                let half_l = half_below_max(v) + half * log_d;
                let v = row.scale * hard * w * half_l;
                v + v
            });
        }
        if let Some(stat) = &mut grads.stat {
            let [spread_out] = cpu::sums([x], |[v]| {
                let half_cost = half_below_max(v);
                let e = (-half_cost).exp_twice();
                [if e > zero { e * half_cost } else { zero }]
            });
            let best = x.iter().position(|&v| half_x(v) == half_m).unwrap_or(0);
            *stat = RowStat {
                lse: half_lse + half_lse,
                entropy: log_d + (spread_out + spread_out) / d,
                argmax: best as u32,
                hit: label == Some(best),
            };
        }
        half_loss + half_loss
    }
}
