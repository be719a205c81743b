//! Crammer-Singer loss.

use bytemuck::{Pod, Zeroable};

use super::margin_builder;
use super::options::finite;
use super::row_loss::{RowOptions, RowSupports, row_loss};
#[cfg(feature = "host")]
use crate::cpu::{self, Real, RowGrads, RowIn, RowReference, RowTarget};
use crate::error::Error;
use crate::problem::Problem;
use crate::wgsl::Flags;

row_loss! {
    CrammerSinger {
        name: "crammer_singer_loss",
        pytorch: "(none)",
        formula: "max(0, m - x_t + max_{c != t} x_c)",
        wgsl: "losses/crammer_singer.wgsl",
        params: [half_margin],
        options: [margin],
        shared: [],
        supports: RowSupports { indices: true, ..RowSupports::NONE },
        examples: |loss, shape, seed| loss.rows.example_inputs(shape, seed, crate::TargetKind::Indices),
    }
}

/// Crammer-Singer multi-class hinge loss of scores x with class index t and margin m: only the strongest wrong class k
/// counts.
///
/// loss = max(0, m - x_t + x_k),  k = first argmax over c ≠ t of x_c,
/// d loss / d x_k = 1 and d loss / d x_t = -1 where that is > 0, else 0
///
/// **Shapes.** Scores (C), (N, C) or (N, C, d1, ...), class indices without the class axis. **Mean** divides by the
/// number of rows.
///
/// **Edges.** A NaN score makes its row's loss NaN and its gradient 0. A single class has no wrong one: loss 0. A class
/// index out of range is an error on the host, and in a GPU buffer gives NaN for that row and a status.
///
/// **By hand.** x = (0.5, 0.25, -1), t = 0, m = 1: k = 1, loss = 1 - 0.5 + 0.25 = 0.75, gradient (-1, 1, 0).
///
/// Explained in [the guide](crate::guide::crammer_singer).
///
/// Source: Crammer & Singer, JMLR 2, 2001.
///
/// ```
/// use deeploss::{Context, CrammerSinger, Evaluate, Tensors};
/// use ndarray::array;
///
/// let (x, t) = (array![[0.5_f32, 0.25, -1.0]], array![0_u8]);
/// let out = CrammerSinger::new().evaluate(&Context::cpu(), &Tensors::new(x.view(), t.view()))?;
/// assert_eq!(out.scalar(), Some(0.75));
/// assert_eq!(out.grad_input.unwrap(), array![[-1.0, 1.0, 0.0]].into_dyn());
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CrammerSinger {
    rows: RowOptions,
    margin: f32,
}

/// `Params` in the WGSL file.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    half_margin: f32,
    spare: [u32; 3],
}

impl CrammerSinger {
    /// Margin 1, mean reduction.
    #[must_use]
    pub fn new() -> Self {
        Self { rows: RowOptions::none_ignored(), margin: 1.0 }
    }

    margin_builder!(1.0);

    fn pieces(&self, _: &Problem, _: usize) -> Result<(Params, Flags), Error> {
        let half_margin = 0.5 * finite("margin", self.margin)?;
        Ok((Params { half_margin, spare: [0; 3] }, Flags::NONE))
    }
}

fn variants(_: usize) -> Vec<CrammerSinger> {
    vec![CrammerSinger::new(), CrammerSinger::new().margin(0.25)]
}

#[cfg(feature = "host")]
impl<F: Real> RowReference<F> for CrammerSinger {
    #[inline(always)]
    fn row<const BITS: usize>(&self, row: &RowIn<'_, F>, grads: &mut RowGrads<'_, F>) -> F {
        let RowTarget::Class(t) = row.target else { return F::nan() };
        let x = row.logits;
        if cpu::has_nan(x) {
            return F::nan();
        }
        let (before, after) = (&x[..t], &x[t + 1..]);
        let largest = [before, after].map(|wrong| cpu::largest(wrong));
        let best = if largest[1] > largest[0] { largest[1] } else { largest[0] };
        let is_best = |v: &F| *v == best;
        let later = || after.iter().position(is_best).map(|c| t + 1 + c);
        let Some(rival) = before.iter().position(is_best).or_else(later) else { return F::zero() };
        let half = F::of(0.5);
        let half_z = half * F::of(f64::from(self.margin)) + (half * x[rival] - half * x[t]);
        if let Some(grad) = grads.input.as_mut().filter(|_| half_z > F::zero()) {
            let grad = grad.values();
            grad[rival] = row.scale;
            grad[t] = -row.scale;
        }
        let half_loss = cpu::relu(half_z);
        half_loss + half_loss
    }
}
