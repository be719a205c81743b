//! The losses, and the table of them. Tests, benches and the docs iterate over [`LOSSES`].
//!
//! A loss is a file here, a WGSL file in `shaders/losses/`, and a row of the table. Its file holds what is its own:
//! documentation and options, `Params` as the WGSL file has them, variants for tests, and the formula for the CPU. What
//! losses have in common comes from [`row_loss`] (rows of classes) or [`item_loss`] (independent elements).

mod item_loss;
mod options;
mod row_loss;
mod weight;

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
pub use options::{OptionInfo, OptionKind, OptionValue, Options};
pub use sigmoid_focal::SigmoidFocal;
pub use soft_margin::SoftMargin;
pub use softmax_focal::SoftmaxFocal;
pub use squared_hinge::SquaredHinge;
pub use weight::Weight;

use crate::error::Error;
use crate::lowered::Lowered;
use crate::problem::{Problem, Reduction};
use crate::wgsl::{Flags, Part};

/// One row of the table.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
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
    /// The options that it has: what [`from_options`](Self::from_options) takes.
    pub options: fn() -> Vec<OptionInfo>,
    /// Names and byte offsets of the fields of `Params`, and its size, as Rust lays them out; a test compares them with
    /// the WGSL.
    #[doc(hidden)]
    pub params: &'static [(&'static str, usize)],
    /// Combinations of options worth testing on inputs with this number of classes.
    #[doc(hidden)]
    pub variants: fn(classes: usize) -> Vec<Box<dyn Loss>>,
}

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

mod sealed {
    #[cfg(feature = "host")]
    use crate::cpu::CpuReference;

    /// Every loss has a CPU reference.
    #[cfg(feature = "host")]
    pub trait Sealed: CpuReference<f32> + CpuReference<f64> {}

    #[cfg(not(feature = "host"))]
    pub trait Sealed {}
}

/// What every loss is: an operation with its options, which are set on the loss' own type.
/// [`Evaluate`](crate::Evaluate) has what runs it. This crate implements it for the losses of [`LOSSES`].
///
/// ```
/// use deeploss::{CrossEntropy, Hinge, Loss, Reduction};
///
/// let losses: [Box<dyn Loss>; 2] = [Box::new(CrossEntropy::new().label_smoothing(0.1)), Box::new(Hinge::new())];
/// let sums = losses.map(|loss| loss.with_reduction(Reduction::Sum));
/// assert_eq!(sums[1].info().name, "hinge_loss");
/// ```
pub trait Loss: sealed::Sealed + Debug + Send + Sync {
    /// The loss' row of the table.
    fn info(&self) -> &'static LossInfo;

    /// The same loss with another reduction.
    fn with_reduction(&self, reduction: Reduction) -> Box<dyn Loss>;

    /// Checks options and shapes, and lowers the loss onto its kernel template.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Value`]: what does not fit.
    #[doc(hidden)]
    fn lower(&self, problem: &Problem) -> Result<Lowered, Error>;

    /// Whether a class index is ignored.
    #[doc(hidden)]
    fn ignores(&self, target: i64) -> bool;

    /// Whether a target of integers holds class indices; else it holds a value per element.
    #[doc(hidden)]
    fn takes_class_indices(&self) -> bool;

    /// Random tensors that this loss accepts, for tests and benches: typical inputs of the given shape, the same for
    /// equal seeds.
    #[cfg(feature = "host")]
    #[doc(hidden)]
    fn example_inputs(&self, shape: &[usize], seed: u64) -> crate::tensors::OwnedTensors;
}

/// What only the loss knows of its kernels.
struct Pieces<'a> {
    /// The WGSL file.
    source: Part,
    /// Its `override` constants.
    flags: Flags,
    /// The bytes of its `Params`, a multiple of 16.
    params: &'a [u8],
}

/// The `Params` of a WGSL file that needs none: a uniform is never empty.
type NoParams = [u32; 4];

/// What the losses of both kernel templates repeat: the row of the table, `Default`, the builder methods of all, and the traits.
/// `$options` is the field that holds the options of the template, and the function of `cpu` that computes it.
macro_rules! loss_basics {
    (
        $loss:ident, $options:ident, $reference:ident, $name:literal, $pytorch:literal, $formula:literal,
        params: [$($param:ident),*], options: [$($option:ident),*], shared: [$($shared:ident),*],
        supports: $supports:expr,
        lower: |$lowered:ident, $problem:ident| $lower:expr,
        examples: |$this:ident, $shape:ident, $seed:ident| $examples:expr
    ) => {
        pub(super) const INFO: crate::losses::LossInfo = crate::losses::LossInfo {
            name: $name,
            type_name: stringify!($loss),
            pytorch: $pytorch,
            formula: $formula,
            from_options: |options| options.build($loss::read),
            options: || crate::losses::Options::known($loss::read),
            params: &[
                $((stringify!($param), std::mem::offset_of!(Params, $param)),)*
                ("(size)", size_of::<Params>()),
            ],
            variants: |classes| {
                let boxed = |loss| Box::new(loss) as Box<dyn crate::losses::Loss>;
                variants(classes).into_iter().map(boxed).collect()
            },
        };

        impl crate::losses::sealed::Sealed for $loss {}

        impl Default for $loss {
            fn default() -> Self {
                Self::new()
            }
        }

        impl $loss {
            /// The loss with the options that are given.
            fn read(reader: &mut crate::losses::options::Reader<'_>) -> Result<Self, crate::Error> {
                let mut loss = Self::new();
                loss.$options.read(reader)?;
                $(loss.$options.$shared(reader)?;)*
                $(crate::losses::options::OptionField::read(&mut loss.$option, stringify!($option), reader)?;)*
                Ok(loss)
            }

            /// How the losses of rows or elements are combined; the mean by default.
            #[must_use]
            pub fn reduction(mut self, reduction: crate::Reduction) -> Self {
                self.$options.reduction = reduction;
                self
            }

            /// The mean where nothing counts: of no rows or elements, of none but ignored and masked ones, and where every
            /// weight that counts in the mean is 0. NaN by default, as in PyTorch; with a number of your choice the
            /// gradient is 0. Weights that merely cancel make loss and gradient NaN, whatever is chosen.
            #[must_use]
            pub fn on_empty(mut self, loss: f32) -> Self {
                self.$options.on_empty = loss;
                self
            }
        }

        impl crate::losses::Loss for $loss {
            fn info(&self) -> &'static crate::losses::LossInfo {
                &INFO
            }

            fn with_reduction(&self, reduction: crate::Reduction) -> Box<dyn crate::losses::Loss> {
                Box::new(self.clone().reduction(reduction))
            }

            fn lower(&self, $problem: &crate::Problem) -> Result<crate::lowered::Lowered, crate::Error> {
                $problem.check()?;
                let $lowered = self;
                $lower
            }

            fn ignores(&self, target: i64) -> bool {
                self.$options.ignores(target)
            }

            fn takes_class_indices(&self) -> bool {
                $supports.takes_class_indices()
            }

            #[cfg(feature = "host")]
            fn example_inputs(&self, $shape: &[usize], $seed: u64) -> crate::tensors::OwnedTensors {
                let $this = self;
                $examples
            }
        }

        #[cfg(feature = "host")]
        impl<F: crate::cpu::Real> crate::cpu::CpuReference<F> for $loss {
            fn compute(
                &self,
                lowered: &crate::lowered::Lowered,
                call: &crate::cpu::HostCall<'_, F>,
                grad: Option<crate::tensors::Sink<'_, F>>,
            ) -> Result<crate::tensors::Output<F>, crate::Error> {
                crate::cpu::$options(self, lowered, call, grad)
            }

            fn check_values(&self, call: &crate::cpu::HostCall<'_, F>) -> Result<(), crate::Error> {
                crate::cpu::$reference::check_values(self, call)
            }
        }
    };
}
use loss_basics;

/// The builder method of a loss with a field `margin`.
macro_rules! margin_builder {
    ($default:literal) => {
        #[doc = concat!("The margin m; ", $default, " by default.")]
        #[must_use]
        pub fn margin(mut self, margin: f32) -> Self {
            self.margin = margin;
            self
        }
    };
}
use margin_builder;
