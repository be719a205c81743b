//! The table of losses. Tests, benches, the conformance runner and the docs iterate over [`LOSSES`].

mod classes;
mod items;
mod options;

mod bce;
mod bce_with_logits;
mod crammer_singer;
mod cross_entropy;
mod hinge;
mod hinge_embedding;
mod kl_div;
mod kl_from_logits;
mod margin_ranking;
mod multi_margin;
mod multilabel_margin;
mod multilabel_soft_margin;
mod nll;
mod sigmoid_focal;
mod soft_margin;
mod softmax_focal;
mod squared_hinge;

use std::fmt::Debug;

use ndarray::{ArrayView, Dimension};

pub use bce::Bce;
pub use bce_with_logits::BceWithLogits;
pub use crammer_singer::CrammerSinger;
pub use cross_entropy::CrossEntropy;
pub use hinge::Hinge;
pub use hinge_embedding::HingeEmbedding;
pub use kl_div::KlDiv;
pub use kl_from_logits::{Direction, KlFromLogits};
pub use margin_ranking::MarginRanking;
pub use multi_margin::MultiMargin;
pub use multilabel_margin::MultiLabelMargin;
pub use multilabel_soft_margin::MultiLabelSoftMargin;
pub use nll::Nll;
pub use options::{OptionValue, Options};
pub use sigmoid_focal::SigmoidFocal;
pub use soft_margin::SoftMargin;
pub use softmax_focal::SoftmaxFocal;
pub use squared_hinge::SquaredHinge;

use crate::context::Context;
use crate::error::Error;
use crate::kernel::Kernel;
use crate::plan::Plan;
use crate::prepared::Prepared;
use crate::problem::{Problem, Reduction, Want};
use crate::strategy::RowStrategy;
use crate::tensors::{Answer, Element, OwnedTensors, Storage, Target, Tensors};

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct LossInfo {
    /// Name of the operation, as PyTorch's functional API has it where it exists there.
    pub name: &'static str,
    /// The type in this crate.
    pub type_name: &'static str,
    /// PyTorch's name for it.
    pub pytorch: &'static str,
    /// One line: the formula.
    pub formula: &'static str,
    /// Makes the loss from named options, as a configuration file gives them; unknown names are errors.
    pub from_options: fn(&Options) -> Result<Box<dyn Loss>, Error>,
    /// Names and byte offsets of the fields of `Params`, and its size, as Rust lays them out; a test compares them with the WGSL.
    pub params: &'static [(&'static str, usize)],
    /// Combinations of options worth testing on inputs with so many classes.
    pub variants: fn(classes: usize) -> Vec<Box<dyn Loss>>,
}

/// [`LossInfo::params`] of a `#[repr(C)]` struct.
macro_rules! params {
    ($type:ty: $($field:ident),*) => {
        &[$((stringify!($field), std::mem::offset_of!($type, $field)),)* ("(size)", size_of::<$type>())]
    };
}
use params;

/// Every loss of the crate.
///
/// ```
/// for loss in deeploss::LOSSES {
///     println!("{:16} {}", loss.name, loss.formula);
/// }
/// ```
pub const LOSSES: &[LossInfo] = &[
    cross_entropy::INFO,
    nll::INFO,
    softmax_focal::INFO,
    bce::INFO,
    bce_with_logits::INFO,
    sigmoid_focal::INFO,
    kl_div::INFO,
    kl_from_logits::INFO,
    hinge::INFO,
    squared_hinge::INFO,
    margin_ranking::INFO,
    hinge_embedding::INFO,
    soft_margin::INFO,
    multi_margin::INFO,
    crammer_singer::INFO,
    multilabel_margin::INFO,
    multilabel_soft_margin::INFO,
];

/// The CPU twin of a loss in one scalar type.
pub trait Twin<F: Element<Scalar = F>> {
    /// Evaluates the loss; shapes and labels have been checked against `kernel`.
    fn compute(&self, kernel: &Kernel, tensors: &Tensors<'_, F>, want: Want) -> Answer<F>;

    /// Values that the loss is not defined for, where it is not defined for every float.
    ///
    /// # Errors
    /// [`Error::Value`] naming the tensor, the element and what was expected.
    fn check_values(&self, _: &Tensors<'_, F>) -> Result<(), Error> {
        Ok(())
    }
}

/// What every loss can do. Options are set on the loss' own type.
pub trait Loss: Twin<f32> + Twin<f64> + Debug + Send + Sync {
    /// The loss' row of the table.
    fn info(&self) -> &'static LossInfo;

    /// Checks options and shapes, and lowers the loss onto its skeleton.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Value`]: what does not fit.
    fn kernel(&self, problem: &Problem) -> Result<Kernel, Error>;

    /// The same loss with another reduction.
    fn with_reduction(&self, reduction: Reduction) -> Box<dyn Loss>;

    /// Whether a class index is ignored.
    fn ignores(&self, target: i64) -> bool {
        let _ = target;
        false
    }

    /// Random tensors that this loss accepts, for tests and benches: typical inputs of the given shape, the same for equal seeds.
    fn sample(&self, shape: &[usize], seed: u64) -> OwnedTensors;

    /// Loss and gradient of host arrays: [`evaluate`](crate::evaluate) for a loss that compares an input with a target.
    ///
    /// # Errors
    /// As [`evaluate`](crate::evaluate).
    fn evaluate<'a, X: Storage, D: Dimension>(
        &self,
        ctx: &Context,
        input: ArrayView<'a, X, D>,
        target: impl Into<Target<'a>>,
    ) -> Result<Answer<X>, Error>
    where
        Self: Sized,
    {
        crate::host::evaluate(self, ctx, &Tensors::new(input, target), Want::LOSS | Want::GRAD)
    }

    /// The wanted outputs for host tensors in `f32`: [`evaluate`](crate::evaluate) takes 16-bit inputs too.
    ///
    /// # Errors
    /// As [`evaluate`](crate::evaluate).
    fn evaluate_with(&self, ctx: &Context, tensors: &Tensors<'_>, want: Want) -> Result<Answer, Error> {
        crate::host::evaluate(self, ctx, tensors, want)
    }

    /// Makes everything a call of this shape needs on the context's device, once.
    ///
    /// # Errors
    /// As [`Loss::evaluate_with`].
    fn prepare(&self, ctx: &Context, problem: &Problem) -> Result<Prepared, Error> {
        self.prepare_with(ctx, problem, None)
    }

    /// [`Loss::prepare`] with a strategy of the caller's choice, for tests and measurements.
    ///
    /// # Errors
    /// As [`Loss::prepare`]; [`Error::Unsupported`] if the strategy cannot serve.
    fn prepare_with(&self, ctx: &Context, problem: &Problem, strategy: Option<RowStrategy>) -> Result<Prepared, Error> {
        let gpu = ctx.require_gpu()?;
        let kernel = self.kernel(problem)?;
        let plan = Plan::new(&kernel, problem, &gpu.facts, strategy)?;
        Prepared::new(ctx, &kernel, plan)
    }
}
