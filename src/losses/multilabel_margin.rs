//! Multi-label margin loss.

use bytemuck::{Pod, Zeroable};

use super::row_loss::{RowOptions, RowSupports, row_loss};
use crate::error::Error;
use crate::problem::Problem;
use crate::wgsl::Flags;
#[cfg(feature = "host")]
use crate::{
    cpu::{self, HostCall, Real, RowGrads, RowIn, RowReference, RowTarget, Sum},
    problem::{RowShape, TargetKind},
    sample::Rng,
    tensors::{OwnedTarget, OwnedTensors, Target},
};

row_loss! {
    MultiLabelMargin {
        name: "multilabel_margin_loss",
        pytorch: "torch.nn.MultiLabelMarginLoss",
        formula: "1 / C sum_{j in L, i not in L} max(0, 1 - x_j + x_i)",
        wgsl: "losses/multilabel_margin.wgsl",
        params: [half_per_class],
        options: [],
        shared: [],
        supports: RowSupports { lists: true, loose_row: true, ..RowSupports::NONE },
        examples: |loss, shape, seed| example_inputs(&loss.rows, shape, seed),
    }
}

/// Multi-label margin loss of rows of scores x with a list L of labels per row:
///
/// loss = 1 / C · sum over j in L, i not in L of max(0, 1 - x_j + x_i),
/// d loss / d x_i = 1 / C · (number of j in L with 1 - x_j + x_i > 0) for i not in L, and minus the like for j in L
///
/// **Shapes.** Scores (C) or (N, C), targets of the same shape: the labels of a row, ended by the first -1; what
/// follows is not read. A label that is listed twice counts twice. **Mean** divides by the number of rows.
///
/// **Edges.** A NaN score that is compared makes its row's loss NaN. At the corner the gradient is 0. A label out of
/// range is an error on the host, and in a GPU buffer gives NaN for that row and a status. Work grows with C times the
/// length of the list.
///
/// Source:
/// [torch.nn.MultiLabelMarginLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiLabelMarginLoss.html).
///
/// Explained in [the guide](crate::guide::multilabel_margin).
///
/// ```
/// use deeploss::{Context, Evaluate, MultiLabelMargin, Tensors};
/// use ndarray::array;
///
/// let scores = array![[0.1_f32, 0.2, 0.4, 0.8]];
/// let labels = array![[3_i64, 0, -1, 1]];                   // classes 3 and 0
/// let out = MultiLabelMargin::new().evaluate(&Context::cpu(), &Tensors::new(scores.view(), labels.view()))?;
/// assert!((out.scalar().unwrap() - 0.85).abs() < 1e-6);
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MultiLabelMargin {
    rows: RowOptions,
}

/// `Params` in the WGSL file.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    half_per_class: f32,
    spare: [u32; 3],
}

impl MultiLabelMargin {
    /// Mean reduction.
    #[must_use]
    pub fn new() -> Self {
        Self { rows: RowOptions::none_ignored() }
    }

    fn pieces(&self, _: &Problem, classes: usize) -> Result<(Params, Flags), Error> {
        Ok((Params { half_per_class: 2.0 / classes as f32, spare: [0; 3] }, Flags::NONE))
    }
}

fn variants(_: usize) -> Vec<MultiLabelMargin> {
    vec![MultiLabelMargin::new()]
}

/// Scores, and lists of up to five labels.
#[cfg(feature = "host")]
fn example_inputs(rows: &RowOptions, shape: &[usize], seed: u64) -> OwnedTensors {
    let mut rng = Rng::new(seed ^ 1);
    let mut labels = ndarray::ArrayD::<i64>::from_elem(shape, -1);
    for mut row in labels.lanes_mut(ndarray::Axis(usize::from(shape.len() > 1))) {
        let classes = row.len();
        let listed = rng.below(classes.min(5) + 1);
        row.iter_mut().take(listed).for_each(|label| *label = rng.below(classes) as i64);
    }
    OwnedTensors { target: OwnedTarget::Indices(labels), ..rows.example_inputs(shape, seed, TargetKind::Values) }
}

#[cfg(feature = "host")]
impl<F: Real> RowReference<F> for MultiLabelMargin {
    #[inline(always)]
    fn row<const BITS: usize>(&self, row: &RowIn<'_, F>, grads: &mut RowGrads<'_, F>) -> F {
        let RowTarget::Labels(labels) = row.target else { return F::nan() };
        let x = row.logits;
        let listed = || labels.iter().take_while(|&&label| label != -1).map(|&label| label as usize);
        let mut is_listed = vec![false; x.len()];
        listed().for_each(|j| is_listed[j] = true);
        let (others, mut other_counts): (Vec<F>, Vec<F>) =
            x.iter().zip(&is_listed).filter(|(_, listed)| !**listed).map(|(&v, _)| (v, F::zero())).unzip();
        let (half, two) = (F::of(0.5), F::of(2.0));
        let per_class = F::one() / F::of(x.len() as f64);
        let mut sum = Sum::new();
        // Counts first: whole numbers, which do not round.
        let mut counts = vec![F::zero(); x.len()];
        for j in listed() {
            let half_excess = |v: F| cpu::relu(half * v + (half - half * x[j]));
            let is_over = |v: F| if half_excess(v) > F::zero() { F::one() } else { F::zero() };
            let [excess, over] = cpu::sums([&others], |[v]| [half_excess(v) * (two * per_class), is_over(v)]);
            sum.add(excess.wide());
            counts[j] -= over;
            other_counts.iter_mut().zip(&others).for_each(|(count, &v)| *count += is_over(v));
        }
        if let Some(grad) = &mut grads.input {
            let mut other_counts = other_counts.iter();
            for ((g, &count), &listed) in grad.values().iter_mut().zip(&counts).zip(&is_listed) {
                let count = if listed { count } else { other_counts.next().copied().unwrap_or(count) };
                *g = row.scale * per_class * count;
            }
        }
        F::of(sum.total())
    }

    fn check_values(&self, call: &HostCall<'_, F>) -> Result<(), Error> {
        let (Target::Indices(labels), Ok(rows)) = (&call.target, RowShape::of(call.shape, self.rows.class_axis)) else {
            return Ok(());
        };
        let excluded = call.excluded_rows();
        let labels = labels.as_standard_layout();
        let labels = labels.as_slice().unwrap_or_default();
        for row in (0..rows.rows()).filter(|&row| !excluded.get(row).copied().unwrap_or(false)) {
            let first = row / rows.inner * rows.classes * rows.inner + row % rows.inner;
            let row_labels = labels[first..].iter().step_by(rows.inner).take(rows.classes);
            let mut list = row_labels.take_while(|&&label| label != -1);
            if let Some(&value) = list.find(|&&label| usize::try_from(label).map_or(true, |c| c >= rows.classes)) {
                return Err(Error::Target { row, value, classes: rows.classes, ignorable: false });
            }
        }
        Ok(())
    }
}
