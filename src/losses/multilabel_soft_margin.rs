//! Multi-label soft margin loss.

use bytemuck::{Pod, Zeroable};

use super::row_loss::{RowOptions, RowSupports, example_weight, row_loss};
use crate::error::Error;
use crate::problem::Problem;
use crate::wgsl::Flags;
#[cfg(feature = "host")]
use crate::{
    cpu::{self, Real, RowGrads, RowIn, RowReference, RowTarget},
    problem::TargetKind,
    sample::Rng,
    tensors::{OwnedTarget, OwnedTensors},
};

row_loss! {
    MultiLabelSoftMargin {
        name: "multilabel_soft_margin_loss",
        pytorch: "torch.nn.MultiLabelSoftMarginLoss",
        formula: "1 / C sum_c w_c (y_c softplus(-x_c) + (1 - y_c) softplus(x_c))",
        wgsl: "losses/multilabel_soft_margin.wgsl",
        params: [per_class],
        options: [],
        shared: [row_weight],
        supports: RowSupports { values: true, last_axis: true, row_weights: true, ..RowSupports::NONE },
        examples: |loss, shape, seed| example_inputs(&loss.rows, shape, seed),
    }
}

/// Multi-label soft margin loss of rows of logits x with targets y in {0, 1} (or soft) and class weights w: the mean
/// over the classes of one binary cross-entropy per label.
///
/// loss = 1 / C · sum_c w_c (y_c softplus(-x_c) + (1 - y_c) softplus(x_c)),
/// d loss / d x_c = w_c / C ((1 - y_c) sigmoid(x_c) - y_c sigmoid(-x_c))
///
/// **Shapes.** Logits (C), (N, C) or (..., C): classes are the last axis; targets of the same shape; weights of any that
/// broadcasts to it. **Mean** divides by the number of rows.
///
/// **Edges.** Finite for every finite logit; NaN makes its row's loss NaN and its own gradient NaN.
///
/// Source:
/// [torch.nn.MultiLabelSoftMarginLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiLabelSoftMarginLoss.html).
///
/// Explained in [the guide](crate::guide::multilabel_soft_margin).
///
/// ```
/// use deeploss::{Context, Evaluate, MultiLabelSoftMargin, Tensors};
/// use ndarray::array;
///
/// let (x, y) = (array![[0.0_f32, 0.0]], array![[1.0_f32, 0.0]]);
/// let out = MultiLabelSoftMargin::new().evaluate(&Context::cpu(), &Tensors::new(x.view(), y.view()))?;
/// assert!((out.scalar().unwrap() - std::f32::consts::LN_2).abs() < 1e-7);
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MultiLabelSoftMargin {
    rows: RowOptions,
}

/// `Params` in the WGSL file.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    per_class: f32,
    spare: [u32; 3],
}

impl MultiLabelSoftMargin {
    /// No weights, mean reduction.
    #[must_use]
    pub fn new() -> Self {
        Self { rows: RowOptions::none_ignored() }
    }

    fn pieces(&self, _: &Problem, classes: usize) -> Result<(Params, Flags), Error> {
        Ok((Params { per_class: 1.0 / classes as f32, spare: [0; 3] }, Flags::NONE))
    }
}

fn variants(classes: usize) -> Vec<MultiLabelSoftMargin> {
    let base = MultiLabelSoftMargin::new;
    vec![base(), base().class_axis(1).weight(example_weight(classes))]
}

/// Logits, and labels 0 or 1.
#[cfg(feature = "host")]
fn example_inputs(rows: &RowOptions, shape: &[usize], seed: u64) -> OwnedTensors {
    let mut rng = Rng::new(seed ^ 1);
    let labels = ndarray::ArrayD::from_shape_simple_fn(shape, || rng.below(2) as f32);
    OwnedTensors { target: OwnedTarget::Values(labels), ..rows.example_inputs(shape, seed, TargetKind::Values) }
}

#[cfg(feature = "host")]
impl<F: Real> RowReference<F> for MultiLabelSoftMargin {
    #[inline(always)]
    fn row<const BITS: usize>(&self, row: &RowIn<'_, F>, grads: &mut RowGrads<'_, F>) -> F {
        let RowTarget::Values(y) = row.target else { return F::nan() };
        let (x, one) = (row.logits, F::one());
        let classes = F::of(x.len() as f64);
        if let Some(grad) = &mut grads.input {
            grad.fill([x, y, row.weight], |[x, y, w]| {
                let d = (one - y) * cpu::sigmoid(x) - y * cpu::sigmoid(-x);
                row.scale * (w / classes) * d
            });
        }
        let [loss] = cpu::sums([x, y, row.weight], |[x, y, w]| {
            let share = w / classes;
            [share * y * cpu::softplus(-x) + share * (one - y) * cpu::softplus(x)]
        });
        loss
    }
}
