//! Divergences between two rows of logits.

use bytemuck::{Pod, Zeroable};

use super::options::{OptionField, Reader, positive};
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
        params: [half_inverse_t, square, temperature, beta],
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
/// **By hand.** x = (0, 0), y = (log 3, 0), T = 1: P = (3/4, 1/4), forward = 3/4 log(3/2) + 1/4 log(1/2) = 0.13081,
/// gradient (-1/4, 1/4). JSD(1/2): M = (5/8, 3/8), half of 3/4 log(6/5) + 1/4 log(2/3) plus half of 1/2 log(4/5) + 1/2
/// log(4/3) = 0.033822.
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
        *self = match reader.text(name)? {
            None | Some("forward") => Self::Forward,
            Some("reverse") => Self::Reverse,
            Some("jsd") => Self::Jsd(beta),
            Some(other) => return Err(Error::value(name, "forward, reverse or jsd", other)),
        };
        Ok(())
    }
}

/// `Params` in the WGSL file.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    half_inverse_t: f32,
    square: f32,
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
        let params = Params { half_inverse_t: 0.5 / t, square: t * t, temperature: t, beta };
        let flags = flags! {
            REVERSE: self.direction == Direction::Reverse,
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
        let x = row.logits;
        let (zero, one) = (F::zero(), F::one());
        let t = F::of(f64::from(self.temperature));
        let beta = if let Direction::Jsd(beta) = self.direction { F::of(f64::from(beta)) } else { zero };
        let (Some(q), Some(p)) = (LogSoftmax::of(x, t), LogSoftmax::of(y, t)) else {
            grads.fill_nan();
            return F::nan();
        };
        // p, q, u, v of the derivation in the WGSL file; where a probability is 0, so is what multiplies it.
        let term = |x: F, y: F| {
            let (log_q, log_p) = (q.log(x), p.log(y));
            let (q, p) = (log_q.exp_any(), log_p.exp_any());
            let kept = |probability: F, value: F| if probability > zero { value } else { zero };
            match self.direction {
                Direction::Forward => (p, q, kept(p, log_p - log_q), zero),
                Direction::Reverse => (p, q, zero, kept(q, log_q - log_p)),
                Direction::Jsd(_) => {
                    let rest = one - beta;
                    let u = kept(p, -beta * log_mix(beta, rest, log_q - log_p));
                    (p, q, u, kept(q, -rest * log_mix(rest, beta, log_p - log_q)))
                }
            }
        };
        let [loss, u_mean, v_mean] = cpu::sums([x, y], |[x, y]| {
            let (p, q, u, v) = term(x, y);
            [p * u + q * v, p * u, q * v]
        });
        let scale = row.scale * t;
        if let Some(grad) = &mut grads.input {
            grad.fill([x, y], |[x, y]| {
                let (p, q, _, v) = term(x, y);
                scale * if self.direction == Direction::Forward { q - p } else { q * (v - v_mean) }
            });
        }
        if let Some(grad) = &mut grads.target {
            grad.fill([x, y], |[x, y]| {
                let (p, q, u, _) = term(x, y);
                scale * if self.direction == Direction::Reverse { p - q } else { p * (u - u_mean) }
            });
        }
        // Beside an infinite divergence, the gradient of the side whose log is infinite is no number.
        if loss == F::infinity() {
            let side = if self.direction == Direction::Reverse { &mut grads.input } else { &mut grads.target };
            side.iter_mut().for_each(|grad| grad.values().fill(F::nan()));
        }
        loss * t * t
    }
}

/// The log-softmax of a row at a temperature; `None` for a row without one.
#[cfg(feature = "host")]
struct LogSoftmax<F> {
    half_inverse_t: F,
    half_m: F,
    log_d: F,
}

#[cfg(feature = "host")]
impl<F: Real> LogSoftmax<F> {
    #[inline(always)]
    fn of(row: &[F], t: F) -> Option<Self> {
        let half_inverse_t = F::of(0.5) / t;
        let half_m = cpu::largest(row) * half_inverse_t;
        let unscaled = Self { half_inverse_t, half_m, log_d: F::zero() };
        let [d] = cpu::sums([row], |[v]| [unscaled.log(v).exp_any()]);
        // NaN or +inf among the logits, or nothing but -inf.
        (!d.is_nan()).then(|| Self { log_d: d.log_any(), ..unscaled })
    }

    #[inline(always)]
    fn log(&self, v: F) -> F {
        let h = v * self.half_inverse_t - self.half_m;
        (h + h) - self.log_d
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
