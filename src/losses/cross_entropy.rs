//! Cross-entropy with every option of PyTorch's, and several ignored values, any class axis, a choice for the empty mean.

use bytemuck::{Pod, Zeroable};

use super::classes::{Classes, Takes, class_builders, sample_weight};
use super::{Loss, LossInfo, Options, Twin, params};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::link::part;
use crate::problem::{Problem, Reduction, TargetKind, Want};
use crate::reference::{self, Real, RowGrads, RowIn, RowStat, RowTarget, RowTwin, Sums};
use crate::tensors::{Answer, OwnedTensors, Tensors};

pub(super) const INFO: LossInfo = LossInfo {
    name: "cross_entropy",
    type_name: "CrossEntropy",
    pytorch: "torch.nn.CrossEntropyLoss",
    formula: "sum_c w_c q_c (log sum_j exp x_j - x_c), q = (1 - e) y + e / C",
    from_options: |options| CrossEntropy::from_options(options).map(|loss| Box::new(loss) as Box<dyn Loss>),
    params: params!(Params: hard, soft, z, half_inverse_t, cap, inverse_cap),
    variants,
};

/// Cross-entropy between logits and class indices or class probabilities.
///
/// With logits x of a row, class weights w, label smoothing e, and y the one-hot vector of the class index t or the row of target
/// probabilities:
///
/// q = (1 - e) y + e / C,  loss = sum_c w_c q_c (lse - x_c),  lse = log sum_j exp x_j
///
/// d loss / d x_j = A p_j - w_j q_j,  A = sum_c w_c q_c,  p = softmax x;  d loss / d y_j = (1 - e) w_j (lse - x_j)
///
/// **Shapes.** Logits (C), (N, C) or (N, C, d1, ...), or any axis as [`class_axis`](Self::class_axis); class indices without the
/// class axis, probabilities of the logits' shape.
///
/// **Mean** divides by the sum of w_t over the rows that are not ignored (class indices) or by the number of rows (probabilities).
///
/// **Edges.** A -inf logit has probability 0 and gradient 0; as the target, its loss is +inf. NaN or +inf, or nothing but -inf, makes
/// that row NaN and no other. (On the GPU -inf is computed as `f32::MIN`: only in a row whose largest logit is exactly `f32::MIN` does it
/// then get probability.) The mean over nothing is NaN with gradient 0. Unlike PyTorch: target probability 0 on a -inf logit
/// contributes 0 rather than NaN; an ignored row's gradient is 0 even where its logits are NaN; a class index out of range is an
/// error on the host, and in a GPU buffer gives NaN for that row and a status, with everything else as if it were in range.
///
/// **Beyond PyTorch.** Several ignored indices; a [`sample weight`](crate::Tensors::sample_weight) per row; [`z_loss`](Self::z_loss);
/// [`softcap`](Self::softcap) and [`temperature`](Self::temperature), applied to the logits in this order; any
/// [`class_axis`](Self::class_axis); and with [`Want::STATS`] log-sum-exp, entropy, argmax and top-1 hit of every row.
///
/// **By hand.** Logits (0, 0), t = 0, z = 0.1: loss = log 2 + 0.1 (log 2)² = 0.74119. Logits (0.549306, 0), t = 1,
/// softcap 1: x = (tanh 0.549306, 0) = (0.5, 0), loss = log(1 + exp 0.5) = 0.97408.
///
/// **Accuracy.** Confident rows keep their digits: with class indices and no smoothing every loss and gradient element is within
/// 2e-6 (relative) of the exact value, down to 1e-12 of the row's largest.
///
/// Source: [torch.nn.CrossEntropyLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html); the
/// one-pass maximum and sum is Milakov & Gimelshein, [arXiv 1805.02867](https://arxiv.org/abs/1805.02867).
///
/// ```
/// use deeploss::{Context, CrossEntropy, Loss};
/// use ndarray::array;
///
/// let logits = array![[2.0_f32, 1.0, 0.1], [0.0, 3.0, 0.0]];
/// let targets = array![0_i64, -100];                     // the second row is ignored
/// let out = CrossEntropy::new().evaluate(&Context::cpu(), logits.view(), targets.view())?;
/// assert!((out.scalar().unwrap() - 0.417_03).abs() < 1e-5);
/// assert!(out.grad_input.unwrap().index_axis(ndarray::Axis(0), 1).iter().all(|g| *g == 0.0));
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CrossEntropy {
    classes: Classes,
    label_smoothing: f32,
    z_loss: f32,
    softcap: Option<f32>,
    temperature: f32,
    /// What [`Loss::sample`] draws.
    sample_probabilities: bool,
}

impl Default for CrossEntropy {
    fn default() -> Self {
        Self {
            classes: Classes::default(),
            label_smoothing: 0.0,
            z_loss: 0.0,
            softcap: None,
            temperature: 1.0,
            sample_probabilities: false,
        }
    }
}

/// `Params` in cross_entropy.wgsl.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    hard: f32,
    soft: f32,
    z: f32,
    half_inverse_t: f32,
    cap: f32,
    inverse_cap: f32,
    spare: [u32; 2],
}

impl CrossEntropy {
    /// Mean reduction, no weights, no smoothing, index -100 ignored.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    class_builders!(weight, ignore);

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

    fn from_options(options: &Options) -> Result<Self, Error> {
        let own = ["label_smoothing", "z_loss", "softcap", "temperature"];
        options.only(&[&own[..], &["weight", "ignore_index", "reduction"]].concat())?;
        let number = |name, default| options.number(name).map(|value| value.map_or(default, |value| value as f32));
        Ok(Self {
            classes: Classes::default().with_options(options)?,
            label_smoothing: number("label_smoothing", 0.0)?,
            z_loss: number("z_loss", 0.0)?,
            softcap: options.number("softcap")?.map(|cap| cap as f32),
            temperature: number("temperature", 1.0)?,
            sample_probabilities: false,
        })
    }

    fn check_options(&self) -> Result<(), Error> {
        let e = self.label_smoothing;
        if !(0.0..=1.0).contains(&e) {
            return Err(Error::value("label_smoothing", "a number in 0 ..= 1", e));
        }
        if !self.z_loss.is_finite() {
            return Err(Error::value("z_loss", "a finite number", self.z_loss));
        }
        for (name, value) in [("softcap", self.softcap.unwrap_or(1.0)), ("temperature", self.temperature)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::value(name, "a finite number > 0", value));
            }
        }
        Ok(())
    }

    /// Share of the target itself, and of each class besides: 1 - e, e / C.
    fn shares(&self, classes: usize) -> (f64, f64) {
        let e = f64::from(self.label_smoothing);
        (1.0 - e, e / classes as f64)
    }
}

fn variants(classes: usize) -> Vec<Box<dyn Loss>> {
    let base = CrossEntropy::new;
    let soft = || CrossEntropy { sample_probabilities: true, ..base() };
    let weight = || sample_weight(classes);
    vec![
        Box::new(base()),
        Box::new(base().weight(weight())),
        Box::new(base().label_smoothing(0.1).ignore_index(0)),
        Box::new(base().label_smoothing(0.3).weight(weight())),
        Box::new(base().ignore_indices([-1, 1, 2])),
        Box::new(soft()),
        Box::new(soft().label_smoothing(0.2).weight(weight())),
        Box::new(base().z_loss(1e-2).temperature(1.7)),
        Box::new(base().softcap(5.0).z_loss(1e-2).label_smoothing(0.1)),
        Box::new(soft().softcap(4.0).temperature(0.5)),
    ]
}

impl Loss for CrossEntropy {
    fn info(&self) -> &'static LossInfo {
        &INFO
    }

    fn kernel(&self, problem: &Problem) -> Result<Kernel, Error> {
        self.check_options()?;
        let probabilities = problem.target == TargetKind::Values;
        if let Some(index) = self.classes.ignore.iter().find(|&&index| probabilities && index >= 0) {
            return Err(Error::value("ignore_index", "none, or a negative one, with target probabilities", index));
        }
        let (hard, soft) = self.shares(self.classes.count(problem)?);
        let cap = self.softcap.unwrap_or(1.0);
        let params = Params {
            hard: hard as f32,
            soft: soft as f32,
            z: self.z_loss,
            half_inverse_t: 0.5 / self.temperature,
            cap,
            inverse_cap: 1.0 / cap,
            spare: [0; 2],
        };
        let takes = Takes {
            indices: true,
            values: true,
            grad_target: true,
            counted: true,
            stats: true,
            revisits: false,
            flags: vec![
                ("PROBABILITIES", probabilities),
                ("SMOOTHING", self.label_smoothing > 0.0),
                ("TEMPERED", self.temperature != 1.0),
                ("CAPPED", self.softcap.is_some()),
                ("Z_LOSS", self.z_loss != 0.0),
            ],
        };
        self.classes.kernel(problem, part!("losses/cross_entropy.wgsl"), takes, bytemuck::bytes_of(&params))
    }

    fn with_reduction(&self, reduction: Reduction) -> Box<dyn Loss> {
        Box::new(self.clone().reduction(reduction))
    }

    fn ignores(&self, target: i64) -> bool {
        self.classes.ignore.contains(&target)
    }

    fn sample(&self, shape: &[usize], seed: u64) -> OwnedTensors {
        let kind = if self.sample_probabilities { TargetKind::Values } else { TargetKind::Indices };
        self.classes.sample(shape, seed, kind)
    }
}

impl<F: Real> Twin<F> for CrossEntropy {
    fn compute(&self, kernel: &Kernel, tensors: &Tensors<'_, F>, want: Want) -> Answer<F> {
        reference::rows(self, kernel, tensors, want)
    }
}

impl<F: Real> RowTwin<F> for CrossEntropy {
    #[inline(always)]
    fn row(&self, row: &RowIn<'_, F>, grads: &mut RowGrads<'_, F>) -> F {
        // Half of what the softmax sees of a logit, and its derivative: softcap, then temperature.
        let half_inverse_t = F::of(0.5) / F::of(f64::from(self.temperature));
        let inverse_t = half_inverse_t + half_inverse_t;
        let Some(cap) = self.softcap.map(|cap| F::of(f64::from(cap))) else {
            return self.row_of(row, grads, |v| half_inverse_t * v, |_| inverse_t);
        };
        let slope = |v: F| {
            let e = (-(v / cap + v / cap).abs()).exp_any();
            inverse_t * (F::of(4.0) * e / ((F::one() + e) * (F::one() + e)))
        };
        self.row_of(row, grads, |v| half_inverse_t * (cap * reference::tanh(v / cap)), slope)
    }
}

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
        let half_m = reference::largest(x, &half_x);
        // exp(x - m), from halves: the difference itself may overflow.
        let e = |v: F| ((half_x(v) - half_m) + (half_x(v) - half_m)).exp_any();

        let (before, after) = label.map_or((x, &x[..0]), |t| (&x[..t], &x[t + 1..]));
        let mut others = Sums::new();
        others.add([before], |[v]| [e(v)]);
        others.add([after], |[v]| [e(v)]);
        let [s] = others.totals();
        let lag = label.map_or(zero, |t| half_m - half_x(x[t]));
        let e_t = label.map_or(zero, |t| e(x[t]));
        let d = s + e_t;
        // NaN or +inf among the logits, or nothing but -inf.
        if d.is_nan() {
            grads.poison();
            return F::nan();
        }
        let log_d = if label.is_some() && lag == zero { s.log1p() } else { d.log_any() };

        // A and sum a_c (m - x_c) / 2: the spread-out part, then the class index' own. Probability 0 on -inf is 0.
        let (mut a, mut half_rest) = (zero, zero);
        if spreads {
            [a, half_rest] = reference::sums([x, y, row.weight], |[v, y, w]| {
                let q = spread(y);
                [q * w, if q == zero { zero } else { q * w * (half_m - half_x(v)) }]
            });
        }
        let spread_a = a;
        let own = label.map_or(zero, |t| hard * row.weight[t]);
        if label.is_some() {
            a += own;
            half_rest += own * lag;
        }
        // z lse^2 and its derivative.
        let (z, lse) = (F::of(f64::from(self.z_loss)), half_m + half_m + log_d);
        let pull = (z + z) * lse;
        let half_loss = half * a * log_d + half_rest + half * z * lse * lse;

        if let Some(grad) = &mut grads.input {
            let scale_p = row.scale * (a + pull) / d;
            if spreads {
                reference::fill(grad, [x, y, row.weight], |[v, y, w]| {
                    (e(v) * scale_p - row.scale * (spread(y) * w)) * slope(v)
                });
            } else {
                reference::fill(grad, [x], |[v]| e(v) * scale_p * slope(v));
            }
            if let Some(t) = label {
                let own_part = -row.scale * own * (s / d);
                let rest = if soft > zero { spread_a * (e_t / d) - soft * row.weight[t] } else { zero };
                grad[t] = (own_part + row.scale * (rest + pull * (e_t / d))) * slope(x[t]);
            }
        }
        if let Some(grad) = &mut grads.target {
            reference::fill(grad, [x, row.weight], |[v, w]| {
                let half_l = (half_m - half_x(v)) + half * log_d;
                let v = row.scale * hard * w * half_l;
                v + v
            });
        }
        if let Some(stat) = &mut grads.stat {
            let surprise = |v: F| if e(v) > zero { e(v) * (half_m - half_x(v)) } else { zero };
            let [spread_out] = reference::sums([x], |[v]| [surprise(v)]);
            let best = x.iter().position(|&v| half_x(v) == half_m).unwrap_or(0);
            *stat = RowStat {
                lse,
                entropy: log_d + (spread_out + spread_out) / d,
                argmax: best as u32,
                hit: label == Some(best),
            };
        }
        half_loss + half_loss
    }
}
