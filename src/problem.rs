//! What is asked of a loss: shapes, target kind, outputs. No device, no data.

use crate::error::Error;

/// How the losses of the items become the result, as in PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Reduction {
    /// One loss per item.
    None,
    /// The sum divided by the loss' denominator (see each loss).
    #[default]
    Mean,
    /// The sum.
    Sum,
    /// The sum divided by the first dimension of the input (KL divergence).
    BatchMean,
}

bitflags::bitflags! {
    /// Which outputs to compute; combine with `|`.
    ///
    /// ```
    /// use deeploss::Want;
    /// assert!((Want::LOSS | Want::GRAD).contains(Want::GRAD));
    /// assert!(!Want::LOSS.contains(Want::GRAD));
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Want: u32 {
        /// The loss.
        const LOSS = 1;
        /// The gradient with respect to the input (logits, scores, probabilities).
        const GRAD = 1 << 1;
        /// The gradient with respect to the second input, where the loss has one.
        const GRAD_INPUT2 = 1 << 2;
        /// The gradient with respect to a floating-point target, where the loss has one.
        const GRAD_TARGET = 1 << 3;
        /// Statistics of every row (cross-entropy): log-sum-exp, entropy, argmax, top-1 hit.
        const STATS = 1 << 4;
    }
}

impl Default for Want {
    /// Loss and gradient.
    fn default() -> Self {
        Self::LOSS | Self::GRAD
    }
}

/// What a target holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TargetKind {
    /// Class indices (on the GPU: `i32`).
    Indices,
    /// Floating-point values: probabilities, soft labels, signs.
    Values,
}

/// How a tensor's elements are stored. Arithmetic is f32 whatever the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Dtype {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, IEEE 754 binary16.
    F16,
    /// 16 bits, the upper half of an `f32`.
    Bf16,
}

impl Dtype {
    /// Bytes of one element.
    #[must_use]
    pub const fn size(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Bytes of `count` elements, in whole words: WebGPU binds and copies no less.
    #[must_use]
    pub const fn bytes(self, count: usize) -> u64 {
        (count as u64 * self.size()).next_multiple_of(4)
    }
}

/// The shape of one call: what [`Evaluate::prepare`](crate::Evaluate::prepare) needs to choose kernels and sizes.
///
/// ```
/// use deeploss::{Problem, TargetKind, Want};
/// let problem = Problem::rows(8192, 50_257).wants(Want::LOSS | Want::GRAD);
/// let images = Problem::new(&[8, 21, 64, 64], TargetKind::Indices).with_grad_output();
/// assert_eq!(images.shape(), [8, 21, 64, 64]);
/// # let _ = problem;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    pub(crate) shape: Vec<usize>,
    pub(crate) target: TargetKind,
    pub(crate) target_shape: Option<Vec<usize>>,
    pub(crate) input2_shape: Option<Vec<usize>>,
    pub(crate) ignore_mask: bool,
    pub(crate) sample_weight: bool,
    pub(crate) want: Want,
    pub(crate) grad_output: bool,
    pub(crate) input_dtype: Dtype,
    pub(crate) grad_dtype: Dtype,
    pub(crate) grad_in_place: bool,
}

impl Problem {
    /// An input of this shape; loss and gradient wanted; upstream gradient 1.
    #[must_use]
    pub fn new(shape: &[usize], target: TargetKind) -> Self {
        Self {
            shape: shape.to_vec(),
            target,
            target_shape: None,
            input2_shape: None,
            ignore_mask: false,
            sample_weight: false,
            want: Want::default(),
            grad_output: false,
            input_dtype: Dtype::F32,
            grad_dtype: Dtype::F32,
            grad_in_place: false,
        }
    }

    /// `rows` rows of `classes` logits with class indices as targets.
    #[must_use]
    pub fn rows(rows: usize, classes: usize) -> Self {
        Self::new(&[rows, classes], TargetKind::Indices)
    }

    /// Which outputs to compute.
    #[must_use]
    pub fn wants(mut self, want: Want) -> Self {
        self.want = want;
        self
    }

    /// How the input is stored; `F32` by default. 16-bit elements are packed two to a word, without gaps between rows.
    #[must_use]
    pub fn input_dtype(mut self, dtype: Dtype) -> Self {
        self.input_dtype = dtype;
        self
    }

    /// How the gradient of the input is stored; `F32` by default, whatever the input. Of an odd number of 16-bit
    /// elements, the other half of the last word keeps what it held.
    #[must_use]
    pub fn grad_dtype(mut self, dtype: Dtype) -> Self {
        self.grad_dtype = dtype;
        self
    }

    /// The gradient of the input overwrites the input: [`Buffers::input`](crate::Buffers) holds it after the call, and there is no
    /// `grad_input`. Both are stored alike, so where the input has 16 bits, say so with [`Problem::grad_dtype`] too. It saves
    /// the memory of the gradient, and costs a barrier per row, a dispatch where rows are split, and for element-wise losses
    /// that each item is computed twice. Two losses take scratch all the same: lists of labels (`MultiLabelMargin`) a copy of the
    /// logits, and an input that broadcasts its gradient before it is summed. Of an invalid item, the readback tells the index,
    /// and not the input that has been overwritten.
    ///
    /// For calls on buffers: host arrays are never overwritten.
    ///
    /// ```
    /// # #[cfg(feature = "host")] {
    /// use deeploss::{AdapterFacts, CrossEntropy, Dtype, Loss, Plan, Problem};
    ///
    /// let problem = Problem::rows(8, 10).input_dtype(Dtype::Bf16).grad_dtype(Dtype::Bf16).grad_in_place();
    /// let lowered = CrossEntropy::new().lower(&problem)?;
    /// let plan = Plan::new(&lowered, &problem, &AdapterFacts::default(), None)?;
    /// assert!(plan.to_string().contains("input Bf16, overwritten by its gradient"));
    /// // A gradient of another type has no room there.
    /// assert!(CrossEntropy::new().lower(&problem.grad_dtype(Dtype::F32)).is_err());
    /// # }
    /// # Ok::<(), deeploss::Error>(())
    /// ```
    #[must_use]
    pub fn grad_in_place(mut self) -> Self {
        self.grad_in_place = true;
        self
    }

    /// An upstream gradient is given at every call: of the loss' shape.
    #[must_use]
    pub fn with_grad_output(mut self) -> Self {
        self.grad_output = true;
        self
    }

    /// Shape of the target, where the loss does not fix it: `MarginRanking` and `HingeEmbedding` broadcast it.
    #[must_use]
    pub fn target_shape(mut self, shape: &[usize]) -> Self {
        self.target_shape = Some(shape.to_vec());
        self
    }

    /// Shape of the second input, for losses that compare two; the input's if not given.
    #[must_use]
    pub fn input2_shape(mut self, shape: &[usize]) -> Self {
        self.input2_shape = Some(shape.to_vec());
        self
    }

    /// A mask of what is ignored is given at every call: a row (losses over rows) or an element (binary losses) each.
    #[must_use]
    pub fn with_ignore_mask(mut self) -> Self {
        self.ignore_mask = true;
        self
    }

    /// A weight per row is given at every call (losses over rows). A row that weighs 0 is ignored, whatever it holds.
    #[must_use]
    pub fn with_sample_weight(mut self) -> Self {
        self.sample_weight = true;
        self
    }

    /// Shape of the input.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// All tensors have sizes that can be computed with, and a gradient in place has a place.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.grad_in_place && !self.want.contains(Want::GRAD) {
            return Err(Error::value("grad_in_place", "`Want::GRAD` in `Problem::wants`", format!("{:?}", self.want)));
        }
        if self.grad_in_place && self.grad_dtype != self.input_dtype {
            let expected = format!("`Problem::grad_dtype` to be that of the input, {:?}", self.input_dtype);
            return Err(Error::value("grad_in_place", expected, format!("{:?}", self.grad_dtype)));
        }
        check_size("input", &self.shape)?;
        check_size("target", self.target_shape.as_deref().unwrap_or_default())?;
        check_size("input2", self.input2_shape.as_deref().unwrap_or_default())
    }
}

/// Elements that a tensor may have: so few that no size in bytes, no multiple of it and no sum of some of them overflows.
const MAX_ELEMENTS: usize = usize::MAX >> 5;

/// A shape has no more than [`MAX_ELEMENTS`]. A dimension of 0 does not hide the others: products of some of them are formed too.
pub(crate) fn check_size(argument: &'static str, shape: &[usize]) -> Result<(), Error> {
    let elements = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size.max(1)));
    match elements {
        Some(elements) if elements <= MAX_ELEMENTS => Ok(()),
        _ => Err(Error::Shape {
            argument,
            expected: format!("at most 2^{} elements", MAX_ELEMENTS.ilog2() + 1),
            got: format!("{shape:?}"),
        }),
    }
}

/// An input as rows of classes: element (n, c, d) is at `(n * classes + c) * inner + d`, row (n, d) is item `n * inner
/// + d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowShape {
    /// N: product of the dimensions before the class axis.
    pub outer: usize,
    /// C.
    pub classes: usize,
    /// D: product of the dimensions after the class axis.
    pub inner: usize,
    /// The class axis.
    pub axis: usize,
}

impl RowShape {
    /// The rows of `shape`. Without a chosen axis, classes are axis 1, or axis 0 of a shape (C), as in PyTorch; a shape ()
    /// is one class.
    pub(crate) fn of(shape: &[usize], axis: Option<usize>) -> Result<Self, Error> {
        let shape = if shape.is_empty() { &[1] } else { shape };
        let axis = axis.unwrap_or(usize::from(shape.len() > 1));
        if axis >= shape.len() {
            return Err(Error::value("class_axis", format!("an axis of the input, 0..{}", shape.len()), axis));
        }
        if shape[axis] == 0 {
            return Err(Error::Shape {
                argument: "input",
                expected: "at least one class".into(),
                got: format!("{shape:?}"),
            });
        }
        Ok(Self {
            outer: shape[..axis].iter().product(),
            classes: shape[axis],
            inner: shape[axis + 1..].iter().product(),
            axis,
        })
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.outer * self.inner
    }
}

/// `shape` without one axis: the shape of class indices, and of the unreduced loss.
pub(crate) fn without_axis(shape: &[usize], axis: usize) -> Vec<usize> {
    let others = shape.iter().enumerate().filter(|&(k, _)| k != axis);
    others.map(|(_, &size)| size).collect()
}
