//! Multi-class margin loss.

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
    name: "multi_margin_loss",
    type_name: "MultiMargin",
    pytorch: "torch.nn.MultiMarginLoss",
    formula: "w_t / C sum_{c != t} max(0, m - x_t + x_c)^p",
    from_options: |options| MultiMargin::from_options(options).map(|loss| Box::new(loss) as Box<dyn Loss>),
    params: params!(Params: half_margin, per_class),
    variants,
};

/// Multi-class margin loss of scores x with class index t, margin m, power p (1 or 2) and class weights w:
///
/// loss = w_t / C · sum over c ≠ t of max(0, z_c)^p,  z_c = m - x_t + x_c,
/// d loss / d x_c = w_t / C · p max(0, z_c)^(p-1) where z_c > 0, else 0;  at t minus the sum of those
///
/// **Shapes.** Scores (C), (N, C) or (N, C, d1, ...), class indices without the class axis. **Mean** divides by the number of rows, not by weights.
///
/// **Edges.** A NaN score makes its row's loss NaN, with gradient 0 where the margin is NaN. At the corner the gradient is 0. A class
/// index out of range is an error on the host, and in a GPU buffer gives NaN for that row and a status.
///
/// Source: [torch.nn.MultiMarginLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiMarginLoss.html).
///
/// ```
/// use deeploss::{Context, Loss, MultiMargin};
/// use ndarray::array;
///
/// let out = MultiMargin::new().evaluate(&Context::cpu(), array![[0.5_f32, 0.25, -1.0]].view(), array![0_i64].view())?;
/// assert_eq!(out.scalar(), Some(0.75 / 3.0));
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MultiMargin {
    classes: Classes,
    power: u32,
    margin: f32,
}

impl Default for MultiMargin {
    fn default() -> Self {
        Self::new()
    }
}

/// `Params` in the WGSL file.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    half_margin: f32,
    per_class: f32,
    spare: [u32; 2],
}

impl MultiMargin {
    /// Power 1, margin 1, no weights, mean reduction.
    #[must_use]
    pub fn new() -> Self {
        Self { classes: Classes::none_ignored(), power: 1, margin: 1.0 }
    }

    class_builders!(weight);

    /// The power p, 1 or 2.
    #[must_use]
    pub fn power(mut self, p: u32) -> Self {
        self.power = p;
        self
    }

    /// The margin m; 1 by default.
    #[must_use]
    pub fn margin(mut self, margin: f32) -> Self {
        self.margin = margin;
        self
    }

    fn from_options(options: &Options) -> Result<Self, Error> {
        options.only(&["p", "margin", "weight", "reduction"])?;
        let power = options.integer("p")?.unwrap_or(1);
        let power = u32::try_from(power).map_err(|_| Error::value("p", "1 or 2", power))?;
        let margin = options.number("margin")?.unwrap_or(1.0) as f32;
        Ok(Self { classes: Classes::none_ignored().with_options(options)?, power, margin })
    }
}

fn variants(classes: usize) -> Vec<Box<dyn Loss>> {
    let base = MultiMargin::new;
    vec![Box::new(base()), Box::new(base().power(2).margin(0.5)), Box::new(base().weight(sample_weight(classes)))]
}

impl Loss for MultiMargin {
    fn info(&self) -> &'static LossInfo {
        &INFO
    }

    fn kernel(&self, problem: &Problem) -> Result<Kernel, Error> {
        if !(1..=2).contains(&self.power) {
            return Err(Error::value("p", "1 or 2", self.power));
        }
        if !self.margin.is_finite() {
            return Err(Error::value("margin", "a finite number", self.margin));
        }
        let per_class = 1.0 / self.classes.count(problem)? as f32;
        let params = Params { half_margin: 0.5 * self.margin, per_class, spare: [0; 2] };
        let takes = Takes { indices: true, flags: vec![("SQUARED", self.power == 2)], ..Takes::default() };
        self.classes.kernel(problem, part!("losses/multi_margin.wgsl"), takes, bytemuck::bytes_of(&params))
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

impl<F: Real> Twin<F> for MultiMargin {
    fn compute(&self, kernel: &Kernel, tensors: &Tensors<'_, F>, want: Want) -> Answer<F> {
        reference::rows(self, kernel, tensors, want)
    }
}

impl<F: Real> RowTwin<F> for MultiMargin {
    #[inline(always)]
    fn row<const BITS: usize>(&self, row: &RowIn<'_, F>, grads: &mut RowGrads<'_, F>) -> F {
        let RowTarget::Class(t) = row.target else { return F::nan() };
        let (x, half, two) = (row.logits, F::of(0.5), F::of(2.0));
        let half_margin = half * F::of(f64::from(self.margin));
        let share = row.weight[t] / F::of(x.len() as f64);
        let squared = self.power == 2;
        // Half of max(0, z): z itself may overflow.
        let excess = |v: F| reference::relu(half_margin - half * x[t] + half * v);
        let slope = |h: F| {
            let slope = if squared { F::of(4.0) * h } else { F::one() };
            if h > F::zero() { slope } else { F::zero() }
        };
        let term = |h: F| if squared { (two * h) * (two * h * share) } else { h * (two * share) };
        let wrong = |[v]: [F; 1]| [term(excess(v)), slope(excess(v))];
        let mut sums = Sums::new();
        sums.add([&x[..t]], wrong);
        sums.add([&x[t + 1..]], wrong);
        let [loss, slopes] = sums.totals();
        if let Some(grad) = &mut grads.input {
            let scale = row.scale * share;
            let grad = grad.fill([x], |[v]| scale * slope(excess(v)));
            grad[t] = -scale * slopes;
        }
        loss
    }
}
