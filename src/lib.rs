//! Classification losses and their gradients as fused WGSL compute shaders on your own wgpu device.
//!
//! One kernel gives the loss and the gradient, or either alone, with the semantics of PyTorch. There is no framework
//! around it: it runs on the caller's device, buffers and command encoder. A CPU reference in plain Rust says what is
//! right. Two APIs lead to the same kernels; [`Context`] is where they run, and [`Evaluate`] has both.
//!
//! # Host arrays
//!
//! [`Evaluate::evaluate`] takes [`Tensors`], views of ndarray's arrays, and gives back an [`Output`] of arrays. Options
//! are methods of the loss, tensors and wanted outputs are methods of [`Tensors`].
//!
//! ```
//! # #[cfg(feature = "host")] {
//! use deeploss::{Context, CrossEntropy, Evaluate, Tensors, Want};
//! use ndarray::array;
//!
//! let ctx = Context::cpu();                               // Context::new()? for a GPU, new_or_cpu() for either
//! let loss = CrossEntropy::new().label_smoothing(0.1).weight([1.0, 2.0, 0.5]);
//! let (logits, targets) = (array![[2.0_f32, 1.0, 0.1], [0.0, 3.0, 0.0]], array![0, -100]);
//!
//! let out = loss.evaluate(&ctx, &Tensors::new(logits.view(), targets.view()))?;
//! assert!(out.scalar().unwrap() > 0.0);                   // the mean loss; the second row is ignored
//! assert_eq!(out.grad_input.unwrap().shape(), [2, 3]);
//!
//! // The loss alone, with a weight per row.
//! let weights = array![0.5_f32, 1.0];
//! let call = Tensors::new(logits.view(), targets.view()).sample_weight(weights.view()).wants(Want::LOSS);
//! assert!(loss.evaluate(&ctx, &call)?.grad_input.is_none());
//! # }
//! # Ok::<(), deeploss::Error>(())
//! ```
//!
//! # GPU-resident
//!
//! [`Evaluate::prepare`] once for a [`Problem`], then [`Prepared::record`] at every step: it adds dispatches to the
//! caller's encoder, and never submits, polls, blocks or reads back. [`Prepared::bind`] makes even that free of
//! allocations for buffers that stay. All tensors may be ranges of one buffer, and [`Problem::grad_in_place`] lets the
//! gradient overwrite the logits.
//!
//! ```no_run
//! use deeploss::{Buffers, Context, CrossEntropy, Evaluate, Problem, wgpu};
//!
//! fn train(
//!     adapter: &wgpu::Adapter,
//!     device: wgpu::Device,
//!     queue: wgpu::Queue,
//!     [logits, labels, grad, loss]: [&wgpu::Buffer; 4],    // f32 (256, 1000), i32 (256), f32 (256, 1000), f32 ()
//! ) -> Result<f32, deeploss::Error> {
//!     let ctx = Context::from_wgpu(adapter, device.clone(), queue.clone());
//!     let prepared = CrossEntropy::new().prepare(&ctx, &Problem::rows(256, 1000))?;
//!     let buffers = Buffers {
//!         input: Some(logits.as_entire_buffer_binding()),
//!         target: Some(labels.as_entire_buffer_binding()),
//!         grad_input: Some(grad.as_entire_buffer_binding()),
//!         loss: Some(loss.as_entire_buffer_binding()),
//!         ..Buffers::default()
//!     };
//!     let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
//!     // ... the forward pass ...
//!     prepared.record(&mut encoder, &buffers)?;
//!     // ... the backward pass ...
//!     let readback = prepared.read(&mut encoder, &[loss.as_entire_buffer_binding()])?;
//!     queue.submit([encoder.finish()]);
//!     let bytes = &readback.wait()?[0];                    // optional, and in async code: readback.resolve().await
//!     Ok(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
//! }
//! ```
//!
//! # Losses
//!
//! New to losses? The [`guide`] has a chapter for each: how to read its value, when to use it, what goes wrong.
//! [`LOSSES`] is this table as data; each type's page has shapes, edges, sources and an example.
//!
#![doc = include_str!(concat!(env!("OUT_DIR"), "/losses.md"))]
//!
//! # Design notes
//!
//! A call goes through these values; only the last three touch a device.
//!
//! ```text
//! tensors     ndarray views, or buffers of the caller with their shapes
//!  -> Problem    what is asked: shapes, target, outputs; an error names argument, expected, got
//!  -> Lowered    the loss on its kernel template (rows of classes, or elements): options as bytes
//!  -> Plan       how rows are mapped to invocations, dispatches, sizes; batches cut into bands
//!  -> Prepared   pipelines from the cache, uniforms, scratch; made once
//!  -> record     dispatches on the caller's encoder
//!  -> Readback   optional, after the caller's own submit
//! ```
//!
//! The rooms of the house, each of which uses only those above it:
//!
//! - `error`, `problem`, `tensors`, `adapter`, `broadcast`: plain data, and what can be wrong with it.
//! - `lowered`: the contract between the losses on one side, the plan and the CPU reference on the other.
//! - `wgsl`: which WGSL files make a kernel, and what they bind. Variants are `override` constants and the choice of
//!   files.
//! - `cpu`: the CPU reference, generic over `f32` and `f64`.
//! - `losses`: one file a loss, and the table.
//! - `plan`: strategies and dispatches, without a device.
//! - `gpu`: pipelines, prepared calls, readback; it knows no loss.
//! - `context`, `tuning`: the device, and measured strategies.
//! - `run`: [`Evaluate`], which strings them together.
//!
//! **Numerics.** Arithmetic is f32 whatever the storage; a 16-bit gradient is rounded once, when it is stored. A
//! softmax is taken of differences to the row's maximum, log(1 + s) of the other classes where the target is the
//! largest, so that confident rows keep their digits. Long sums carry their rounding errors along. NaN stays in its row
//! or element.
//!
//! **Beyond WGSL.** What WGSL does not promise, such as the accuracy of `exp2`, is proven on the device before a kernel
//! relies on it ([`Proven`]): by [`Context::new`], and by [`Context::prove`] on a device of the caller's. Where it is
//! not proven, kernels do without.
//!
//! **Determinism.** Every sum has a fixed order, and none uses atomics: the same inputs, options, device and driver
//! give the same bits. The CPU reference gives the same bits whatever the number of threads and the width of vectors.
//!
//! # Limits, bad input, faults
//!
#![doc = include_str!("faults.md")]
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `host` | yes | host arrays and the CPU reference; brings ndarray, half, rayon, libc |
//! | `vulkan`, `metal`, `dx12`, `gles`, `webgpu` | yes | that backend of wgpu |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod adapter;
mod broadcast;
mod context;
#[cfg(feature = "host")]
mod cpu;
mod error;
mod gpu;
pub mod guide;
mod losses;
mod lowered;
mod plan;
mod problem;
mod run;
mod sample;
#[cfg(feature = "host")]
mod tensors;
mod tuning;
mod wgsl;

pub use wgpu;
#[cfg(feature = "host")]
pub use {half, ndarray};

pub use adapter::{AdapterFacts, Proven};
pub use context::Context;
#[cfg(feature = "host")]
pub use cpu::Real;
pub use error::{Cause, Error};
pub use gpu::INSTALL_A_DRIVER;
#[cfg(not(target_arch = "wasm32"))]
pub use gpu::adapters;
pub use gpu::prepared::{Bound, Buffers, Prepared};
pub use gpu::readback::Readback;
pub use losses::*;
pub use plan::{Plan, RowStrategy};
pub use problem::{Dtype, Problem, Reduction, TargetKind, Want};
pub use run::Evaluate;
#[cfg(feature = "host")]
pub use tensors::{Element, Output, RowStats, Storage, Target, Tensors};
pub use tuning::Tuning;
#[cfg(not(target_arch = "wasm32"))]
pub use tuning::measure::{Measured, autotune, measure};

/// What only tests, benches, tools and integrations of this repository need; it changes without notice.
#[doc(hidden)]
pub mod internals {
    pub use crate::broadcast::{Broadcast, Operand};
    #[cfg(feature = "host")]
    pub use crate::cpu::{CpuReference, HostCall};
    pub use crate::gpu::prove::{Proof, Trial};
    pub use crate::gpu::readback::check_status;
    pub use crate::lowered::{Checked, Denominator, ItemLayout, Layout, Lowered, RowLayout, RowTargets, WeightSource};
    pub use crate::plan::{Bind, Dispatch, DispatchParams, TensorId};
    pub use crate::problem::RowShape;
    pub use crate::sample::Rng;
    #[cfg(feature = "host")]
    pub use crate::tensors::{OwnedTarget, OwnedTensors};
    pub use crate::wgsl::bindings::Binding;
    pub use crate::wgsl::variant::*;
    pub use crate::wgsl::{Access, Flags, Part};
}

/// The README's code compiles and runs.
#[cfg(all(doctest, feature = "host"))]
#[doc = include_str!("../README.md")]
struct Readme;
