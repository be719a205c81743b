//! Everything that can go wrong, as one enum.

use std::fmt::Display;

/// Why a call was refused or failed. Every variant names what was expected, what was got, and what to do.
///
/// ```
/// use deeploss::{Context, CrossEntropy, Error, Loss};
/// use ndarray::array;
///
/// let err = CrossEntropy::new()
///     .evaluate(&Context::cpu(), array![[1.0_f32, 2.0]].view(), array![7_i64].view())
///     .unwrap_err();
/// assert!(matches!(err, Error::Target { row: 0, value: 7, classes: 2 }));
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor's shape or length does not fit the others.
    #[error("{argument}: expected shape {expected}, got {got}")]
    Shape {
        /// Name of the tensor.
        argument: &'static str,
        /// The shape that would fit.
        expected: String,
        /// The shape that was given.
        got: String,
    },
    /// A value that the loss is not defined for.
    #[error("{argument}: expected {expected}, got {got}")]
    Value {
        /// Name of the option or tensor.
        argument: &'static str,
        /// What would be accepted.
        expected: String,
        /// What was given.
        got: String,
    },
    /// A class index outside `0..classes` that is not ignored.
    #[error(
        "target: row {row} holds {value}, expected a class in 0..{classes} or the ignore index; correct the label or ignore it"
    )]
    Target {
        /// Index of the row in the flattened target.
        row: usize,
        /// Its value.
        value: i64,
        /// Number of classes.
        classes: usize,
    },
    /// What a kernel found while it ran on GPU buffers, reported by the readback. The items concerned have loss NaN and gradient 0.
    #[error(
        "{argument}: {count} item(s) are out of range, the first at index {first} with value {value}; correct or ignore them"
    )]
    Invalid {
        /// Name of the tensor.
        argument: &'static str,
        /// How many items.
        count: u32,
        /// Index of the first one.
        first: u32,
        /// Its value.
        value: String,
    },
    /// A tensor that this call needs was not given.
    #[error("{argument}: missing; {why}")]
    Missing {
        /// Name of the tensor.
        argument: &'static str,
        /// Why it is needed, and what to do.
        why: &'static str,
    },
    /// A GPU buffer that cannot serve: offset, size or usage.
    #[error("{argument}: the buffer needs {expected}, got {got}")]
    Buffer {
        /// Name of the tensor.
        argument: &'static str,
        /// What the kernel needs.
        expected: String,
        /// What was given.
        got: String,
    },
    /// Valid, but beyond what this adapter or this version can do.
    #[error("{what} is not supported: {why}; {instead}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// The reason.
        why: String,
        /// What to do.
        instead: &'static str,
    },
    /// No GPU adapter was found.
    #[error("no GPU adapter found ({searched}); {install}")]
    NoAdapter {
        /// Which backends and names were searched.
        searched: String,
        /// What to install.
        install: &'static str,
    },
    /// A file that cannot be read or written, or does not hold what it should.
    #[error("{path}: {detail}")]
    File {
        /// The file.
        path: String,
        /// What is wrong, with the line where there is one, and what to do.
        detail: String,
    },
    /// The device refused, was lost, or ran out of memory.
    #[error("the GPU device failed: {0}; see the log of wgpu for details")]
    Device(String),
}

impl Error {
    pub(crate) fn shape(argument: &'static str, expected: &[usize], got: &[usize]) -> Self {
        Self::Shape { argument, expected: format!("{expected:?}"), got: format!("{got:?}") }
    }

    pub(crate) fn value(argument: &'static str, expected: impl Into<String>, got: impl Display) -> Self {
        Self::Value { argument, expected: expected.into(), got: got.to_string() }
    }

    /// The arguments are at fault (as opposed to the machine): the same call fails everywhere.
    #[must_use]
    pub fn is_invalid_input(&self) -> bool {
        matches!(
            self,
            Self::Shape { .. }
                | Self::Value { .. }
                | Self::Target { .. }
                | Self::Invalid { .. }
                | Self::Missing { .. }
                | Self::Buffer { .. }
        )
    }
}
