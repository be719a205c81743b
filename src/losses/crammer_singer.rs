//! Crammer-Singer loss.

use bytemuck::{Pod, Zeroable};

use super::classes::{Classes, Takes, class_builders};
use super::{Loss, LossInfo, Options, Twin, params};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::link::part;
use crate::problem::{Problem, Reduction, TargetKind, Want};
use crate::reference::{self, Real, RowGrads, RowIn, RowTarget, RowTwin};
use crate::tensors::{Answer, OwnedTensors, Tensors};

pub(super) const INFO: LossInfo = LossInfo {
    name: "crammer_singer_loss",
    type_name: "CrammerSinger",
    pytorch: "(none)",
    formula: "max(0, m - x_t + max_{c != t} x_c)",
    from_options: |options| CrammerSinger::from_options(options).map(|loss| Box::new(loss) as Box<dyn Loss>),
    params: params!(Params: half_margin),
    variants,
};

/// Crammer-Singer multi-class hinge loss of scores x with class index t and margin m: only the strongest wrong class k counts.
///
/// loss = max(0, m - x_t + x_k),  k = first argmax over c ≠ t of x_c,
/// d loss / d x_k = 1 and d loss / d x_t = -1 where that is > 0, else 0
///
/// **Shapes.** Scores (C), (N, C) or (N, C, d1, ...), class indices without the class axis. **Mean** divides by the number of rows.
///
/// **Edges.** A NaN score makes its row's loss NaN and its gradient 0. A single class has no wrong one: loss 0. A class index out of
/// range is an error on the host, and in a GPU buffer gives NaN for that row and a status.
///
/// **By hand.** x = (0.5, 0.25, -1), t = 0, m = 1: k = 1, loss = 1 - 0.5 + 0.25 = 0.75, gradient (-1, 1, 0).
///
/// Source: Crammer & Singer, JMLR 2, 2001.
///
/// ```
/// use deeploss::{Context, CrammerSinger, Loss};
/// use ndarray::array;
///
/// let out = CrammerSinger::new().evaluate(&Context::cpu(), array![[0.5_f32, 0.25, -1.0]].view(), array![0_u8].view())?;
/// assert_eq!(out.scalar(), Some(0.75));
/// assert_eq!(out.grad_input.unwrap(), array![[-1.0, 1.0, 0.0]].into_dyn());
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CrammerSinger {
    classes: Classes,
    margin: f32,
}

impl Default for CrammerSinger {
    fn default() -> Self {
        Self::new()
    }
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
        Self { classes: Classes::none_ignored(), margin: 1.0 }
    }

    class_builders!();

    /// The margin m; 1 by default.
    #[must_use]
    pub fn margin(mut self, margin: f32) -> Self {
        self.margin = margin;
        self
    }

    fn from_options(options: &Options) -> Result<Self, Error> {
        options.only(&["margin", "reduction"])?;
        let margin = options.number("margin")?.unwrap_or(1.0) as f32;
        Ok(Self { classes: Classes::none_ignored().with_options(options)?, margin })
    }
}

fn variants(_: usize) -> Vec<Box<dyn Loss>> {
    vec![Box::new(CrammerSinger::new()), Box::new(CrammerSinger::new().margin(0.25))]
}

impl Loss for CrammerSinger {
    fn info(&self) -> &'static LossInfo {
        &INFO
    }

    fn kernel(&self, problem: &Problem) -> Result<Kernel, Error> {
        if !self.margin.is_finite() {
            return Err(Error::value("margin", "a finite number", self.margin));
        }
        let params = Params { half_margin: 0.5 * self.margin, spare: [0; 3] };
        let takes = Takes { indices: true, ..Takes::default() };
        self.classes.kernel(problem, part!("losses/crammer_singer.wgsl"), takes, bytemuck::bytes_of(&params))
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

impl<F: Real> Twin<F> for CrammerSinger {
    fn compute(&self, kernel: &Kernel, tensors: &Tensors<'_, F>, want: Want) -> Answer<F> {
        reference::rows(self, kernel, tensors, want)
    }
}

impl<F: Real> RowTwin<F> for CrammerSinger {
    #[inline(always)]
    fn row<const BITS: usize>(&self, row: &RowIn<'_, F>, grads: &mut RowGrads<'_, F>) -> F {
        let RowTarget::Class(t) = row.target else { return F::nan() };
        let x = row.logits;
        if reference::has_nan(x) {
            return F::nan();
        }
        let (before, after) = (&x[..t], &x[t + 1..]);
        let largest = [before, after].map(|wrong| reference::largest(wrong));
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
        let half_loss = reference::relu(half_z);
        half_loss + half_loss
    }
}
