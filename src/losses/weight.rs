//! Weights as options of a loss.

use std::sync::Arc;

#[cfg(feature = "host")]
use ndarray::{Array, ArrayView, Dimension};

use crate::error::Error;
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

    /// The weight of each element of a shape; `None` if they do not broadcast to it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] of more elements than are worth expanding.
    pub(super) fn broadcast_to(&self, shape: &[usize]) -> Result<Option<Arc<[f32]>>, Error> {
        if !broadcasts(&self.shape, shape) {
            return Ok(None);
        }
        let count = shape.iter().product::<usize>();
        if count > MOST_EXPANDED {
            return Err(Error::Unsupported {
                what: format!("`weight` of shape {:?} for {count} logits", self.shape),
                why: format!("weights that are not one per class are expanded, to {MOST_EXPANDED} at most"),
                instead: "give one weight per class, or split the batch into several calls",
            });
        }
        // Elements between neighbours along each axis, innermost first; 0 where it is broadcast.
        let mut step = 1;
        let mut stride = |own: usize| {
            let stride = if own == 1 { 0 } else { step };
            step *= own;
            stride
        };
        let strides: Vec<usize> = self.shape.iter().rev().map(|&own| stride(own)).collect();
        let place = |element: usize| {
            let along = |(rest, at), (&size, &stride): (&usize, &usize)| (rest / size, at + rest % size * stride);
            shape.iter().rev().zip(&strides).fold((element, 0), along).1
        };
        Ok(Some((0..count).map(|element| self.values[place(element)]).collect()))
    }
}

/// Weights that are expanded at most: 256 MiB, what a buffer of WebGPU holds.
const MOST_EXPANDED: usize = 1 << 26;

/// Whether weights of this shape broadcast to another as PyTorch's do: aligned at the last dimension, 1 stretches.
pub(super) fn broadcasts(own: &[usize], shape: &[usize]) -> bool {
    let stretches = |(&own, &size): (&usize, &usize)| own == size || own == 1;
    own.len() <= shape.len() && own.iter().rev().zip(shape.iter().rev()).all(stretches)
}

/// The error of weights that do not.
pub(super) fn does_not_broadcast(argument: &'static str, own: &[usize], shape: &[usize]) -> Error {
    let expected = format!("one that broadcasts to the input's, {shape:?}");
    Error::Shape { argument, expected, got: format!("{own:?}") }
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
