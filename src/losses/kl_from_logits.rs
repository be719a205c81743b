//! Divergences between two rows of logits.

use bytemuck::{Pod, Zeroable};

use super::options::{OptionField, Reader, positive, quotient};
use super::row_loss::{RowOptions, RowSupports, row_loss};
use crate::error::Error;
use crate::problem::Problem;
use crate::wgsl::{Flags, flags};
#[cfg(feature = "host")]
use crate::{
    cpu::{self, Real, RowGrads, RowIn, RowReference, RowTarget},
    problem::TargetKind,
    tensors::{OwnedTarget, OwnedTensors},
};

row_loss! {
    KlFromLogits {
        name: "kl_from_logits",
        pytorch: "(none)",
        formula: "T^2 KL(softmax(y / T) | softmax(x / T))",
        wgsl: "losses/kl_from_logits.wgsl",
        params: [inverse_t, bound, temperature, beta],
        options: [temperature, direction],
        shared: [],
        supports: RowSupports { values: true, grad_target: true, peak: true, second_pass: true, ..RowSupports::NONE },
        examples: |loss, shape, seed| {
            let logits = |seed| loss.rows.example_inputs(shape, seed, TargetKind::Values).input;
            OwnedTensors::new(logits(seed), OwnedTarget::Values(logits(seed ^ 1)))
        },
    }
}

/// Divergences between the softmaxes of two rows of logits, student x (the input) and teacher y (the target), at
/// temperature T, for distillation. With Q = softmax(x / T) and P = softmax(y / T), by [`direction`](Self::direction):
///
/// forward: T² KL(P | Q);  reverse: T² KL(Q | P);
/// JSD(b): T² (b KL(P | M) + (1 - b) KL(Q | M)),  M = b P + (1 - b) Q
///
/// Forward: d loss / d x = T (Q - P),  d loss / d y = T P (log P - log Q - KL). Both sides have gradients in every
/// direction. The factor T² keeps the gradient's size independent of T.
///
/// **Shapes.** Logits (C), (N, C) or (N, C, d1, ...), or any [`class_axis`](Self::class_axis); the teacher's of the
/// same shape.
/// **Mean** divides by the number of rows, as `batchmean` does in PyTorch.
///
/// **Edges.** A class that is -inf on both sides contributes 0. -inf in the student where the teacher has probability
/// gives +inf (forward; the other way round in reverse); JSD stays finite. Beside +inf, the gradient of the
/// other side is NaN. NaN or +inf, or nothing but -inf, makes that row NaN.
///
/// **Accuracy.** Never negative, and exactly 0 for equal rows. Of nearly equal distributions, too, loss and gradients
/// are within 1e-5 (relative) of the exact values for the logits given, wherever these lie: differences of logits are
/// taken exactly, before the temperature, and no probability or logarithm is rounded first.
///
/// **By hand.** x = (0, 0), y = (log 3, 0), T = 1: P = (3/4, 1/4), forward = 3/4 log(3/2) + 1/4 log(1/2) = 0.13081,
/// gradient (-1/4, 1/4). JSD(1/2): M = (5/8, 3/8), half of 3/4 log(6/5) + 1/4 log(2/3) plus half of 1/2 log(4/5) + 1/2
/// log(4/3) = 0.033822.
///
/// Explained in [the guide](crate::guide::kl_from_logits).
///
/// Source: Hinton et al., [arXiv 1503.02531](https://arxiv.org/abs/1503.02531); JSD as in Agarwal et al.,
/// [arXiv 2306.13649](https://arxiv.org/abs/2306.13649).
///
/// ```
/// use deeploss::{Context, Evaluate, KlFromLogits, Tensors};
/// use ndarray::array;
///
/// let (student, teacher) = (array![[0.0_f32, 0.0]], array![[3.0_f32.ln(), 0.0]]);
/// let out = KlFromLogits::new().evaluate(&Context::cpu(), &Tensors::new(student.view(), teacher.view()))?;
/// assert!((out.scalar().unwrap() - 0.130_812).abs() < 1e-6);
/// assert!((out.grad_input.unwrap()[[0, 0]] + 0.25).abs() < 1e-6);
/// let jsd = KlFromLogits::new().direction(deeploss::Direction::Jsd(0.5));
/// let out = jsd.evaluate(&Context::cpu(), &Tensors::new(student.view(), teacher.view()))?;
/// assert!((out.scalar().unwrap() - 0.033_822).abs() < 1e-6);
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct KlFromLogits {
    rows: RowOptions,
    temperature: f32,
    direction: Direction,
}

/// Which divergence [`KlFromLogits`] computes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Direction {
    /// KL(teacher | student): the student covers the teacher.
    #[default]
    Forward,
    /// KL(student | teacher): the student seeks a mode of the teacher.
    Reverse,
    /// The generalised Jensen-Shannon divergence with weight b in 0 ..= 1 of the teacher.
    Jsd(f32),
}

impl OptionField for Direction {
    /// A word; `beta` is the weight of JSD.
    fn read(&mut self, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Error> {
        let mut beta = 0.5;
        beta.read("beta", reader)?;
        *self = match reader.word(name, &["forward", "reverse", "jsd"], "forward")? {
            Some("reverse") => Self::Reverse,
            Some("jsd") => Self::Jsd(beta),
            _ => Self::Forward,
        };
        Ok(())
    }
}

/// `Params` in the WGSL file.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    inverse_t: f32,
    bound: f32,
    temperature: f32,
    beta: f32,
}

impl KlFromLogits {
    /// Temperature 1, forward, mean reduction.
    #[must_use]
    pub fn new() -> Self {
        Self { rows: RowOptions::none_ignored(), temperature: 1.0, direction: Direction::Forward }
    }

    /// The temperature T > 0 that both sides' logits are divided by.
    #[must_use]
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.temperature = temperature;
        self
    }

    /// Which divergence.
    #[must_use]
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    fn pieces(&self, _: &Problem, _: usize) -> Result<(Params, Flags), Error> {
        let t = positive("temperature", self.temperature)?;
        let beta = match self.direction {
            Direction::Jsd(beta) if !(0.0..=1.0).contains(&beta) => {
                return Err(Error::value("direction", "JSD with a weight in 0 ..= 1", beta));
            }
            Direction::Jsd(beta) => beta,
            Direction::Forward | Direction::Reverse => 0.5,
        };
        let (inverse_t, bound) = quotient(t);
        let params = Params { inverse_t, bound, temperature: t, beta };
        let flags = flags! {
            REVERSE: self.direction == Direction::Reverse,
            TEMPERED: t != 1.0,
            JSD: matches!(self.direction, Direction::Jsd(_)),
        };
        Ok((params, flags))
    }
}

fn variants(_: usize) -> Vec<KlFromLogits> {
    let base = KlFromLogits::new;
    vec![
        base(),
        base().temperature(2.5),
        base().direction(Direction::Reverse).temperature(0.75),
        base().direction(Direction::Jsd(0.5)),
        base().direction(Direction::Jsd(0.1)).temperature(2.0),
    ]
}

#[cfg(feature = "host")]
impl<F: Real> RowReference<F> for KlFromLogits {
    #[inline(always)]
    fn row<const BITS: usize>(&self, row: &RowIn<'_, F>, grads: &mut RowGrads<'_, F>) -> F {
        let RowTarget::Values(y) = row.target else { return F::nan() };
        let reverse = self.direction == Direction::Reverse;
        let (f, s) = if reverse { (row.logits, y) } else { (y, row.logits) };
        let temperature = F::of(f64::from(self.temperature));
        let Some(rows) = Pair::of(f, s, F::one() / temperature) else {
            grads.fill_nan();
            return F::nan();
        };
        let (of_f, of_s) = match grads {
            RowGrads { input, target, .. } if reverse => (input, target),
            RowGrads { input, target, .. } => (target, input),
        };
        let (zero, half_t) = (F::zero(), F::of(0.5) * temperature);
        let scale = row.scale * temperature;
        let (divergence, excess, share);
        if let Direction::Jsd(beta) = self.direction {
            let b = F::of(f64::from(beta));
            let mixed = |v: [F; 2]| rows.terms(v).mixed(b);
            let [sum, change, u_mean, v_mean] = cpu::sums([f, s], |v| {
                let (terms, mix) = (rows.terms(v), mixed(v));
                [half_t * mix.cost, terms.change(zero), terms.p * mix.u, terms.q * mix.v]
            });
            (divergence, excess, share) = (sum, change, b * (F::one() - b));
            if let Some(grad) = of_f {
                grad.fill([f, s], |v| scale * (rows.terms(v).p * (mixed(v).u - u_mean)));
            }
            if let Some(grad) = of_s {
                grad.fill([f, s], |v| scale * (rows.terms(v).q * (mixed(v).v - v_mean)));
            }
        } else {
            // Half of r_*, of the class with the largest f.
            let peak = f.iter().position(|&v| F::of(0.5) * v == rows.f.half_m).unwrap_or(0);
            let half_r_at_peak = rows.terms([f[peak], s[peak]]).half_r;
            let above = |terms: &Terms<F>| if terms.p > zero { half_r_at_peak - terms.half_r } else { zero };
            let [sum, change, mean] = cpu::sums([f, s], |v| {
                let terms = rows.terms(v);
                let far = half_t * (terms.q - terms.p) - terms.p * (terms.half_r - half_t * rows.log_d);
                let near = half_t * (terms.p * terms.small().expm1_rest());
                let cost = if terms.is_small() { near } else { far };
                let cost = if terms.p > zero && v[1] == F::neg_infinity() { F::infinity() } else { cost };
                [cost, terms.change(zero), terms.p * above(&terms)]
            });
            (divergence, excess, share) = (sum, change, F::one());
            let too_much = excess - F::of(0.5) * excess * excess;
            if let Some(grad) = of_s {
                grad.fill([f, s], |v| scale * rows.terms(v).change(too_much));
            }
            if let Some(grad) = of_f {
                // Beside an infinite divergence it is no number.
                let twice = if sum == F::infinity() { F::nan() } else { row.scale + row.scale };
                grad.fill([f, s], |v| {
                    let terms = rows.terms(v);
                    twice * (terms.p * (above(&terms) - mean))
                });
            }
        }
        let half_loss = temperature * cpu::relu(divergence - F::of(0.5) * half_t * share * excess * excess);
        half_loss + half_loss
    }
}

/// The two rows f and s of the derivation in the WGSL file.
#[cfg(feature = "host")]
struct Pair<F> {
    f: Softmax<F>,
    s: Softmax<F>,
    inverse_t: F,
    /// (max s - max f) / 2, and what rounding took from it.
    offset: [F; 2],
    /// log(d_Q / d_P)
    log_d: F,
}

/// One class: P, Q, r / 2, t.
#[cfg(feature = "host")]
struct Terms<F> {
    p: F,
    q: F,
    half_r: F,
    t: F,
}

/// What a class has in JSD: u, v, and its part of the loss.
#[cfg(feature = "host")]
struct Mixed<F> {
    u: F,
    v: F,
    cost: F,
}

#[cfg(feature = "host")]
impl<F: Real> Pair<F> {
    #[inline(always)]
    fn of(f: &[F], s: &[F], inverse_t: F) -> Option<Self> {
        let (f, s) = (Softmax::of(f, inverse_t)?, Softmax::of(s, inverse_t)?);
        Some(Self { offset: difference(s.half_m, f.half_m), log_d: (s.d / f.d).log_any(), f, s, inverse_t })
    }

    #[inline(always)]
    fn terms(&self, [f, s]: [F; 2]) -> Terms<F> {
        // In place of -inf, whose probability is 0, the lowest number.
        let half = |v: F| F::of(0.5) * if v < F::min_value() { F::min_value() } else { v };
        let [rounded, rest] = difference(half(s), half(f));
        let half_r = (rounded - self.offset[0]) + (rest - self.offset[1]);
        let half_t = half_r * self.inverse_t;
        Terms {
            p: self.f.probability(f, self.inverse_t),
            q: self.s.probability(s, self.inverse_t),
            half_r,
            t: (half_t + half_t) - self.log_d,
        }
    }
}

#[cfg(feature = "host")]
impl<F: Real> Terms<F> {
    /// t as far as `expm1_rest` takes it.
    #[inline(always)]
    fn small(&self) -> F {
        clamped(self.t, F::one())
    }

    #[inline(always)]
    fn is_small(&self) -> bool {
        self.t == self.small()
    }

    /// Q - P, where t is `too_much` too much.
    #[inline(always)]
    fn change(&self, too_much: F) -> F {
        let small = clamped(self.t - too_much, F::one());
        if self.is_small() { self.p * (small + small.expm1_rest()) } else { self.q - self.p }
    }

    #[inline(always)]
    fn mixed(&self, b: F) -> Mixed<F> {
        let (zero, one, rest) = (F::zero(), F::one(), F::one() - b);
        let far_u = if self.p > zero { -b * log_mix(b, rest, self.t) } else { zero };
        let far_v = if self.q > zero { -rest * log_mix(rest, b, -self.t) } else { zero };
        let small = clamped(self.t, F::of(0.25));
        let growth = small + small.expm1_rest();
        let m_by_p = one + rest * growth;
        let e = growth / m_by_p;
        let cost = self.p * m_by_p * (b * (-rest * e).x_log_x_rest() + rest * (b * e).x_log_x_rest());
        if small == self.t {
            Mixed { u: b * (-rest * e).log1p(), v: rest * (b * e).log1p(), cost }
        } else {
            Mixed { u: far_u, v: far_v, cost: self.p * far_u + self.q * far_v }
        }
    }
}

/// v within -bound ..= bound; NaN passes.
#[cfg(feature = "host")]
#[inline(always)]
fn clamped<F: Real>(v: F, bound: F) -> F {
    let v = if v > bound { bound } else { v };
    if v < -bound { -bound } else { v }
}

/// a - b exactly, rounded and what rounding took from it, as in lib/math.wgsl.
#[cfg(feature = "host")]
#[inline(always)]
fn difference<F: Real>(a: F, b: F) -> [F; 2] {
    let rounded = a - b;
    let minus_b = rounded - a;
    [rounded, (a - (rounded - minus_b)) - (b + minus_b)]
}

/// The softmax of a row.
#[cfg(feature = "host")]
struct Softmax<F> {
    half_m: F,
    d: F,
}

#[cfg(feature = "host")]
impl<F: Real> Softmax<F> {
    /// `None` for a row without one.
    #[inline(always)]
    fn of(row: &[F], inverse_t: F) -> Option<Self> {
        let unscaled = Self { half_m: F::of(0.5) * cpu::largest(row), d: F::one() };
        let [d] = cpu::sums([row], |[v]| [unscaled.probability(v, inverse_t)]);
        // NaN or +inf among the logits, or nothing but -inf.
        (!d.is_nan()).then_some(Self { d, ..unscaled })
    }

    #[inline(always)]
    fn probability(&self, v: F, inverse_t: F) -> F {
        ((F::of(0.5) * v - self.half_m) * inverse_t).exp_twice() / self.d
    }
}

/// log(a + b exp d) for a + b = 1.
#[cfg(feature = "host")]
#[inline(always)]
fn log_mix<F: Real>(a: F, b: F, d: F) -> F {
    // exp of the larger of the two logs is taken out.
    let (outer, share) = if d <= F::zero() { (F::zero(), b) } else { (d, a) };
    if b == F::zero() { F::zero() } else { outer + (share * (-d.abs()).expm1()).log1p() }
}
