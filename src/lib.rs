//! Classification losses and their gradients as fused WGSL compute shaders on your own wgpu device.
//!
//! Two doors lead to the same kernels:
//!
//! - **Host arrays**: [`Loss::evaluate`] takes ndarray views and returns arrays.
//! - **GPU-resident**: [`Loss::prepare`] once, then [`Prepared::record`] every step, on your buffers and your encoder.
//!
//! [`Context`] is where it runs: your device, one of ours, or the CPU reference path. [`LOSSES`] is the table of losses.

mod context;
mod error;
mod host;
mod kernel;
mod link;
mod losses;
mod pipeline;
mod plan;
mod prepared;
mod problem;
mod readback;
pub mod reference;
mod sample;
mod strategy;
mod tensors;

#[cfg(not(target_arch = "wasm32"))]
pub use context::adapters;
pub use context::{AdapterFacts, Context, INSTALL_A_DRIVER};
pub use error::Error;
pub use host::evaluate;
pub use kernel::{Broadcast, Checked, Denominator, Kernel, Labels, Layout, Operand, WeightSource};
pub use link::Part;
pub use losses::{
    Bce, BceWithLogits, CrammerSinger, CrossEntropy, Direction, Hinge, HingeEmbedding, KlDiv, KlFromLogits, LOSSES,
    Loss, LossInfo, MarginRanking, MultiLabelMargin, MultiLabelSoftMargin, MultiMargin, Nll, OptionValue, Options,
    SigmoidFocal, SoftMargin, SoftmaxFocal, SquaredHinge, Twin,
};
pub use pipeline::Program;
pub use plan::{Bind, Dispatch, Plan, Tensor};
pub use prepared::{Bound, Buffers, Prepared};
pub use problem::{Dtype, Problem, Reduction, RowShape, TargetKind, Want};
pub use readback::Readback;
pub use strategy::RowStrategy;
pub use tensors::{Answer, Element, OwnedTarget, OwnedTensors, RowStats, Storage, Target, Tensors};

/// The README's code compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
