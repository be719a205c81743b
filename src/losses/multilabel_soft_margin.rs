//! Multi-label soft margin loss.

use bytemuck::{Pod, Zeroable};

use super::classes::{Classes, Takes, class_builders, sample_weight};
use super::{Loss, LossInfo, Options, Twin, params};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::link::part;
use crate::problem::{Problem, Reduction, TargetKind, Want};
use crate::reference::{self, Real, RowGrads, RowIn, RowTarget, RowTwin};
use crate::sample::Rng;
use crate::tensors::{Answer, OwnedTarget, OwnedTensors, Tensors};

pub(super) const INFO: LossInfo = LossInfo {
    name: "multilabel_soft_margin_loss",
    type_name: "MultiLabelSoftMargin",
    pytorch: "torch.nn.MultiLabelSoftMarginLoss",
    formula: "1 / C sum_c w_c (y_c softplus(-x_c) + (1 - y_c) softplus(x_c))",
    from_options: |options| MultiLabelSoftMargin::from_options(options).map(|loss| Box::new(loss) as Box<dyn Loss>),
    params: params!(Params: per_class),
    variants,
};

/// Multi-label soft margin loss of rows of logits x with targets y in {0, 1} (or soft) and class weights w: the mean over the classes
/// of one binary cross-entropy per label.
///
/// loss = 1 / C · sum_c w_c (y_c softplus(-x_c) + (1 - y_c) softplus(x_c)),
/// d loss / d x_c = w_c / C ((1 - y_c) sigmoid(x_c) - y_c sigmoid(-x_c))
///
/// **Shapes.** Logits (C), (N, C) or (..., C): classes are the last axis; targets of the same shape. **Mean** divides by the number of rows.
///
/// **Edges.** Finite for every finite logit; NaN makes its row's loss NaN and its own gradient NaN.
///
/// Source: [torch.nn.MultiLabelSoftMarginLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiLabelSoftMarginLoss.html).
///
/// ```
/// use deeploss::{Context, Loss, MultiLabelSoftMargin};
/// use ndarray::array;
///
/// let (x, y) = (array![[0.0_f32, 0.0]], array![[1.0_f32, 0.0]]);
/// let out = MultiLabelSoftMargin::new().evaluate(&Context::cpu(), x.view(), y.view())?;
/// assert!((out.scalar().unwrap() - std::f32::consts::LN_2).abs() < 1e-7);
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MultiLabelSoftMargin {
    classes: Classes,
}

impl Default for MultiLabelSoftMargin {
    fn default() -> Self {
        Self::new()
    }
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
        Self { classes: Classes::none_ignored() }
    }

    class_builders!(weight);

    /// The classes, on the last axis unless chosen otherwise.
    fn classes_of(&self, problem: &Problem) -> Classes {
        let last = problem.shape.len().saturating_sub(1);
        Classes { axis: self.classes.axis.or(Some(last)), ..self.classes.clone() }
    }

    fn from_options(options: &Options) -> Result<Self, Error> {
        options.only(&["weight", "reduction"])?;
        Ok(Self { classes: Classes::none_ignored().with_options(options)? })
    }
}

fn variants(classes: usize) -> Vec<Box<dyn Loss>> {
    let base = MultiLabelSoftMargin::new;
    vec![Box::new(base()), Box::new(base().class_axis(1).weight(sample_weight(classes)))]
}

impl Loss for MultiLabelSoftMargin {
    fn info(&self) -> &'static LossInfo {
        &INFO
    }

    fn kernel(&self, problem: &Problem) -> Result<Kernel, Error> {
        let classes = self.classes_of(problem);
        let params = Params { per_class: 1.0 / classes.count(problem)? as f32, spare: [0; 3] };
        let takes = Takes { values: true, ..Takes::default() };
        classes.kernel(problem, part!("losses/multilabel_soft_margin.wgsl"), takes, bytemuck::bytes_of(&params))
    }

    fn with_reduction(&self, reduction: Reduction) -> Box<dyn Loss> {
        Box::new(self.clone().reduction(reduction))
    }

    fn ignores(&self, target: i64) -> bool {
        self.classes.ignore.contains(&target)
    }

    fn sample(&self, shape: &[usize], seed: u64) -> OwnedTensors {
        let mut tensors = self.classes.sample(shape, seed, TargetKind::Values);
        let mut rng = Rng::new(seed ^ 1);
        let labels = ndarray::ArrayD::from_shape_simple_fn(shape, || rng.below(2) as f32);
        tensors.target = OwnedTarget::Values(labels);
        tensors
    }
}

impl<F: Real> Twin<F> for MultiLabelSoftMargin {
    fn compute(&self, kernel: &Kernel, tensors: &Tensors<'_, F>, want: Want) -> Answer<F> {
        reference::rows(self, kernel, tensors, want)
    }
}

impl<F: Real> RowTwin<F> for MultiLabelSoftMargin {
    #[inline(always)]
    fn row<const BITS: usize>(&self, row: &RowIn<'_, F>, grads: &mut RowGrads<'_, F>) -> F {
        let RowTarget::Values(y) = row.target else { return F::nan() };
        let (x, one) = (row.logits, F::one());
        let classes = F::of(x.len() as f64);
        if let Some(grad) = &mut grads.input {
            grad.fill([x, y, row.weight], |[x, y, w]| {
                let d = (one - y) * reference::sigmoid(x) - y * reference::sigmoid(-x);
                row.scale * (w / classes) * d
            });
        }
        let [loss] = reference::sums([x, y, row.weight], |[x, y, w]| {
            [w / classes * (y * reference::softplus(-x) + (one - y) * reference::softplus(x))]
        });
        loss
    }
}
