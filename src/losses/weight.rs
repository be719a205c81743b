//! Weights as options of a loss.

use std::sync::Arc;

#[cfg(feature = "host")]
use ndarray::{Array, ArrayView, Dimension};

use crate::lowered::WeightSource;

/// Weights of classes or of elements on the host: values and their shape. A number has the shape (); arrays, vectors
/// and slices have one dimension; ndarray's arrays and views have their own shape.
///
/// ```
/// use deeploss::{BceWithLogits, CrossEntropy, Weight};
///
/// let per_class = CrossEntropy::new().weight([0.5, 2.0, 1.0]);
/// let positives = BceWithLogits::new().pos_weight(3.0);
/// assert_eq!(Weight::from(vec![1.0, 2.0]).shape(), [2]);
/// # let _ = (per_class, positives);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    shape: Vec<usize>,
    values: Arc<[f32]>,
}

impl Weight {
    /// Their shape.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Their values, the last dimension first to change.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

impl From<f32> for Weight {
    fn from(value: f32) -> Self {
        Self { shape: Vec::new(), values: Arc::new([value]) }
    }
}

impl From<&[f32]> for Weight {
    fn from(values: &[f32]) -> Self {
        Self { shape: vec![values.len()], values: values.into() }
    }
}

impl From<Vec<f32>> for Weight {
    fn from(values: Vec<f32>) -> Self {
        values.as_slice().into()
    }
}

impl<const N: usize> From<[f32; N]> for Weight {
    fn from(values: [f32; N]) -> Self {
        values.as_slice().into()
    }
}

#[cfg(feature = "host")]
impl<D: Dimension> From<ArrayView<'_, f32, D>> for Weight {
    fn from(values: ArrayView<'_, f32, D>) -> Self {
        Self { shape: values.shape().to_vec(), values: values.iter().copied().collect() }
    }
}

#[cfg(feature = "host")]
impl<D: Dimension> From<Array<f32, D>> for Weight {
    fn from(values: Array<f32, D>) -> Self {
        values.view().into()
    }
}

/// What a loss holds of one sort of weights.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum WeightOption {
    /// Everything weighs 1.
    #[default]
    None,
    /// Values among the options.
    Host(Weight),
    /// A buffer of the caller's, of this shape; class weights leave it open.
    Buffer(Vec<usize>),
}

impl WeightOption {
    pub(super) fn source(&self) -> WeightSource {
        match self {
            Self::None => WeightSource::None,
            Self::Host(weight) => WeightSource::Host(weight.values.clone()),
            Self::Buffer(_) => WeightSource::Buffer,
        }
    }

    pub(super) fn shape(&self) -> Option<&[usize]> {
        match self {
            Self::None => None,
            Self::Host(weight) => Some(&weight.shape),
            Self::Buffer(shape) => Some(shape),
        }
    }
}
