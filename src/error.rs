//! Everything that can go wrong, as one enum.

use std::error::Error as StdError;
use std::fmt::{self, Debug, Display, Formatter};
use std::sync::Arc;

/// Why a call was refused or failed. Every variant names what was expected, what was got, and what to do.
///
/// ```
/// # #[cfg(feature = "host")] {
/// use deeploss::{Context, CrossEntropy, Error, Evaluate, Tensors};
/// use ndarray::array;
///
/// let (logits, labels) = (array![[1.0_f32, 2.0]], array![7]);
/// let err = CrossEntropy::new()
///     .evaluate(&Context::cpu(), &Tensors::new(logits.view(), labels.view()))
///     .unwrap_err();
/// assert_eq!(err, Error::Target { row: 0, value: 7, classes: 2, ignorable: true });
/// assert!(err.is_invalid_input());
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor's shape or length does not fit the others.
    #[error("{argument}: shape {got} does not fit, expected {expected}")]
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
        "target: row {row} holds {value}, expected a class in 0..{classes}{}; correct the label or mask the row",
        if *.ignorable { " or an ignore index" } else { "" },
    )]
    Target {
        /// Index of the row in the flattened target.
        row: usize,
        /// Its value.
        value: i64,
        /// Number of classes.
        classes: usize,
        /// Whether the loss has ignore indices.
        ignorable: bool,
    },
    /// What a kernel found while it ran on GPU buffers, reported by the readback. The items concerned have loss NaN and
    /// gradient 0.
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
    /// A GPU buffer that cannot serve: offset, size, usage, or an overlap.
    #[error("{argument}: the buffer needs {expected}, got {got}")]
    Buffer {
        /// Name of the tensor.
        argument: &'static str,
        /// What the kernel needs.
        expected: String,
        /// What was given.
        got: String,
    },
    /// A readback was waited for whose commands are on no queue: what it would read has not been computed.
    #[error("the readback was not submitted; submit the encoder that it was recorded into, then wait for it")]
    NotSubmitted,
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
        /// The error of the system, where there is one.
        source: Option<Cause>,
    },
    /// The device refused, was lost, or ran out of memory.
    #[error("the GPU device failed: {what}; see the log of wgpu for details")]
    Device {
        /// What failed.
        what: String,
        /// The error of wgpu, where there is one.
        source: Option<Cause>,
    },
}

/// The error of another library that caused an [`Error`]: its [`source`](std::error::Error::source). Two are equal if
/// they read the same.
#[derive(Clone)]
pub struct Cause(Arc<dyn StdError + Send + Sync>);

impl Debug for Cause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.0, f)
    }
}

impl Display for Cause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Error {
    pub(crate) fn shape(argument: &'static str, expected: &[usize], got: &[usize]) -> Self {
        Self::Shape { argument, expected: format!("{expected:?}"), got: format!("{got:?}") }
    }

    pub(crate) fn value(argument: &'static str, expected: impl Into<String>, got: impl Display) -> Self {
        Self::Value { argument, expected: expected.into(), got: got.to_string() }
    }

    /// [`Error::Device`] that nothing else caused.
    #[doc(hidden)]
    #[must_use]
    pub fn device(what: impl Into<String>) -> Self {
        Self::Device { what: what.into(), source: None }
    }

    /// [`Error::Device`] that another error caused, which `what` need not repeat.
    #[doc(hidden)]
    #[must_use]
    pub fn device_caused(what: impl Into<String>, cause: impl StdError + Send + Sync + 'static) -> Self {
        Self::Device { what: format!("{}: {cause}", what.into()), source: Some(Cause(Arc::new(cause))) }
    }

    /// [`Error::File`] about what a file holds.
    #[doc(hidden)]
    #[must_use]
    pub fn file(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::File { path: path.into(), detail: detail.into(), source: None }
    }

    /// [`Error::File`] that another error caused.
    #[doc(hidden)]
    #[must_use]
    pub fn file_caused(path: impl Into<String>, cause: impl StdError + Send + Sync + 'static) -> Self {
        Self::File { path: path.into(), detail: cause.to_string(), source: Some(Cause(Arc::new(cause))) }
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
                | Self::NotSubmitted
        )
    }
}
