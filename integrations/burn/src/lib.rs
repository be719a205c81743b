//! Fused losses for [Burn](https://burn.dev): those of [`deeploss`] on Burn's own tensors.
//!
#![doc = include_str!("../README.md")]

mod call;
mod forward;
mod launch;
mod machine;
pub mod nn;
mod ops;

pub use deeploss;
pub use deeploss::{
    Bce, BceWithLogits, CrammerSinger, CrossEntropy, Direction, Error, Hinge, HingeEmbedding, KlDiv, KlFromLogits,
    LOSSES, Loss, LossInfo, MarginRanking, MultiLabelMargin, MultiLabelSoftMargin, MultiMargin, Nll, Reduction,
    SigmoidFocal, SoftMargin, SoftmaxFocal, SquaredHinge, Weight,
};
pub use forward::{Forward, Tensors};
#[cfg(not(target_family = "wasm"))]
pub use forward::{check, read};
