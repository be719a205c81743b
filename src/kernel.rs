//! What a loss asks of the skeletons: its file, its constants, its parameters, its shapes.

use std::sync::Arc;

use crate::link::Part;
use crate::problem::{Reduction, RowShape};

/// Where per-class weights come from.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum WeightSource {
    /// Every class weighs 1.
    #[default]
    None,
    /// Values on the host, uploaded once when a call is prepared.
    Host(Arc<[f32]>),
    /// A buffer of the caller's, given at every record.
    Buffer,
}

/// What the sum of the losses is divided by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Denominator {
    /// Known beforehand.
    Fixed(f64),
    /// The sum of the weights of the targets that are not ignored, counted on the GPU.
    Counted,
}

/// Targets that are class indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// Ignored values, as the GPU sees them; at most four.
    pub ignore: Vec<i32>,
}

/// One loss lowered onto a skeleton: everything that a plan and the CPU reference need besides the data.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// The loss' WGSL file.
    pub source: Part,
    /// Its boolean `override` constants.
    pub flags: Vec<(&'static str, bool)>,
    /// Bytes of its `Params`.
    pub params: Vec<u8>,
    /// The input as rows.
    pub rows: RowShape,
    /// Class-index targets; `None` for floating-point targets.
    pub labels: Option<Labels>,
    /// Class weights.
    pub weight: WeightSource,
    /// How items are combined.
    pub reduction: Reduction,
    /// What the sum is divided by.
    pub denominator: Denominator,
    /// The mean over nothing.
    pub empty: f32,
    /// Shape that the target must have.
    pub target_shape: Vec<usize>,
    /// Shape of the loss.
    pub loss_shape: Vec<usize>,
}

/// What stands for an ignored label on the GPU, where labels are 32 bits wide.
pub(crate) fn ignore_code(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(i32::MIN)
}
