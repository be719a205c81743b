//! Multi-class margin loss.

use bytemuck::{Pod, Zeroable};

use super::margin_builder;
use super::options::finite;
use super::row_loss::{RowOptions, RowSupports, example_weight, row_loss};
#[cfg(feature = "host")]
use crate::cpu::{self, Real, RowGrads, RowIn, RowReference, RowTarget, Sums};
use crate::error::Error;
use crate::problem::Problem;
use crate::wgsl::{Flags, flags};

row_loss! {
    MultiMargin {
        name: "multi_margin_loss",
        pytorch: "torch.nn.MultiMarginLoss",
        formula: "w_t / C sum_{c != t} max(0, m - x_t + x_c)^p",
        wgsl: "losses/multi_margin.wgsl",
        params: [half_margin, per_class],
        options: [p, margin],
        shared: [weight],
        supports: RowSupports { indices: true, loose_row: true, ..RowSupports::NONE },
        examples: |loss, shape, seed| loss.rows.example_inputs(shape, seed, crate::TargetKind::Indices),
    }
}

/// Multi-class margin loss of scores x with class index t, margin m, power p (1 or 2) and class weights w:
///
/// loss = w_t / C · sum over c ≠ t of max(0, z_c)^p,  z_c = m - x_t + x_c,
/// d loss / d x_c = w_t / C · p max(0, z_c)^(p-1) where z_c > 0, else 0;  at t minus the sum of those
///
/// **Shapes.** Scores (C), (N, C) or (N, C, d1, ...), class indices without the class axis; beside scores (C) also of
/// shape (1), and so is the unreduced loss then. **Mean** divides by the number of rows, not by weights.
///
/// **Edges.** A NaN score makes its row's loss NaN, with gradient 0 where the margin is NaN. At the corner the gradient
/// is 0. A class index out of range is an error on the host, and in a GPU buffer gives NaN for that row and a status.
///
/// Explained in [the guide](crate::guide::multi_margin).
///
/// Source: [torch.nn.MultiMarginLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiMarginLoss.html).
///
/// ```
/// use deeploss::{Context, Evaluate, MultiMargin, Tensors};
/// use ndarray::array;
///
/// let (x, t) = (array![[0.5_f32, 0.25, -1.0]], array![0_i64]);
/// let out = MultiMargin::new().evaluate(&Context::cpu(), &Tensors::new(x.view(), t.view()))?;
/// assert_eq!(out.scalar(), Some(0.75 / 3.0));
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MultiMargin {
    rows: RowOptions,
    p: u32,
    margin: f32,
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
        Self { rows: RowOptions::none_ignored(), p: 1, margin: 1.0 }
    }

    /// The power p, 1 or 2; 1 by default.
    #[must_use]
    pub fn p(mut self, p: u32) -> Self {
        self.p = p;
        self
    }

    margin_builder!(1.0);

    fn pieces(&self, _: &Problem, classes: usize) -> Result<(Params, Flags), Error> {
        if !(1..=2).contains(&self.p) {
            return Err(Error::value("p", "1 or 2", self.p));
        }
        let half_margin = 0.5 * finite("margin", self.margin)?;
        let params = Params { half_margin, per_class: 1.0 / classes as f32, spare: [0; 2] };
        Ok((params, flags! { SQUARED: self.p == 2 }))
    }
}

fn variants(classes: usize) -> Vec<MultiMargin> {
    let base = MultiMargin::new;
    vec![base(), base().p(2).margin(0.5), base().weight(example_weight(classes))]
}

#[cfg(feature = "host")]
impl<F: Real> RowReference<F> for MultiMargin {
    #[inline(always)]
    fn row<const BITS: usize>(&self, row: &RowIn<'_, F>, grads: &mut RowGrads<'_, F>) -> F {
        let RowTarget::Class(t) = row.target else { return F::nan() };
        let (x, half, two) = (row.logits, F::of(0.5), F::of(2.0));
        let half_margin = half * F::of(f64::from(self.margin));
        let share = row.weight[t] / F::of(x.len() as f64);
        let squared = self.p == 2;
        // Half of max(0, z): z itself may overflow.
        let excess = |v: F| cpu::relu(half_margin - half * x[t] + half * v);
        // Gradients before their common factor, which comes last: none leaves the range of F, nor does their sum.
        let per_class = F::one() / F::of(x.len() as f64);
        let slope = |h: F| {
            let slope = if squared { h * per_class } else { F::one() };
            if h > F::zero() { slope } else { F::zero() }
        };
        let (scale, last) = if squared { (row.weight[t], F::of(4.0)) } else { (share, F::one()) };
        let scale = row.scale * scale;
        let term = |h: F| if squared { F::of(4.0) * (h * (h * share)) } else { h * (two * share) };
        let wrong = |[v]: [F; 1]| [term(excess(v)), slope(excess(v))];
        let mut sums = Sums::new();
        sums.add([&x[..t]], wrong);
        sums.add([&x[t + 1..]], wrong);
        let [loss, slopes] = sums.totals();
        if let Some(grad) = &mut grads.input {
            let grad = grad.fill([x], |[v]| last * (scale * slope(excess(v))));
            grad[t] = -last * (scale * slopes);
        }
        loss
    }
}
