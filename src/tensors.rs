//! Host tensors: what goes into a call and what comes out.

use std::mem::MaybeUninit;

use half::{bf16, f16};
use ndarray::{ArrayD, ArrayView, ArrayViewD, CowArray, Dimension, IxDyn};

use crate::error::Error;
use crate::problem::{Dtype, Problem, TargetKind, Want};

/// The types that the input of a call can have on the host, and the one in which its loss is computed.
pub trait Element: Copy + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    /// `f32` for `f32` and the 16-bit types, `f64` for `f64`.
    type Scalar: Element<Scalar = Self::Scalar>;

    /// Dense elements, to be read.
    #[doc(hidden)]
    fn input(dense: &[Self]) -> Input<'_, Self::Scalar>;

    /// An array that holds nothing yet, to be written.
    #[doc(hidden)]
    fn sink(array: &mut ArrayD<MaybeUninit<Self>>) -> Sink<'_, Self::Scalar>;
}

macro_rules! elements {
    ($($element:ty: $scalar:ty, $variant:ident;)*) => {$(
        impl Element for $element {
            type Scalar = $scalar;

            fn input(dense: &[Self]) -> Input<'_, $scalar> {
                Input::$variant(dense)
            }

            fn sink(array: &mut ArrayD<MaybeUninit<Self>>) -> Sink<'_, $scalar> {
                Sink::$variant(array)
            }
        }
    )*};
}
elements! {
    f32: f32, Plain;
    f64: f64, Plain;
    f16: f32, F16;
    bf16: f32, Bf16;
}

/// The dense elements of an input, as they are stored.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub enum Input<'a, F> {
    Plain(&'a [F]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
}

/// The gradient of an input, to be written as it is stored.
#[doc(hidden)]
#[derive(Debug)]
pub enum Sink<'a, F> {
    Plain(&'a mut ArrayD<MaybeUninit<F>>),
    F16(&'a mut ArrayD<MaybeUninit<f16>>),
    Bf16(&'a mut ArrayD<MaybeUninit<bf16>>),
}

/// The types that the input of a call can have on the host and on the GPU: `f32`, [`half::f16`], [`half::bf16`].
/// Arithmetic is f32 whatever the storage; a gradient is rounded once, when it is stored.
pub trait Storage: Element<Scalar = f32> + bytemuck::Pod {
    /// How it is stored.
    const DTYPE: Dtype;
}

impl Storage for f32 {
    const DTYPE: Dtype = Dtype::F32;
}
impl Storage for f16 {
    const DTYPE: Dtype = Dtype::F16;
}
impl Storage for bf16 {
    const DTYPE: Dtype = Dtype::Bf16;
}

/// A target on the host: integers of any type or booleans, or floating-point values. Losses whose target is a value per
/// element take integers and booleans as such values.
///
/// ```
/// use deeploss::{BceWithLogits, Context, Evaluate, Target, Tensors};
/// use ndarray::array;
///
/// let labels = array![true, false];
/// assert!(matches!(Target::<f32>::from(labels.view()), Target::Indices(_)));
/// let logits = array![0.0_f32, 0.0];
/// let out = BceWithLogits::new().evaluate(&Context::cpu(), &Tensors::new(logits.view(), labels.view()))?;
/// assert_eq!(out.grad_input.unwrap(), array![-0.25, 0.25].into_dyn());
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone)]
pub enum Target<'a, F = f32> {
    /// Integers: class indices, or labels.
    Indices(CowArray<'a, i64, IxDyn>),
    /// Values of the scalar type.
    Values(ArrayViewD<'a, F>),
}

impl<F> Target<'_, F> {
    /// Shape of the tensor.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Indices(t) => t.shape(),
            Self::Values(t) => t.shape(),
        }
    }

    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> TargetKind {
        match self {
            Self::Indices(_) => TargetKind::Indices,
            Self::Values(_) => TargetKind::Values,
        }
    }
}

impl<'a, F, D: Dimension> From<ArrayView<'a, i64, D>> for Target<'a, F> {
    fn from(view: ArrayView<'a, i64, D>) -> Self {
        Self::Indices(view.into_dyn().into())
    }
}

macro_rules! indices_from {
    ($convert:expr; $($int:ty),*) => {$(
        impl<'a, F, D: Dimension> From<ArrayView<'a, $int, D>> for Target<'a, F> {
            fn from(view: ArrayView<'a, $int, D>) -> Self {
                Self::Indices(view.into_dyn().mapv($convert).into())
            }
        }
    )*};
}
indices_from!(i64::from; i8, i16, i32, u8, u16, u32, bool);
// A value beyond i64 is beyond every class count too, and is reported as such.
indices_from!(|v| i64::try_from(v).unwrap_or(i64::MAX); u64, usize);

macro_rules! values_from {
    ($($float:ty),*) => {$(
        impl<'a, D: Dimension> From<ArrayView<'a, $float, D>> for Target<'a, $float> {
            fn from(view: ArrayView<'a, $float, D>) -> Self {
                Self::Values(view.into_dyn())
            }
        }
    )*};
}
values_from!(f32, f64);

/// The tensors of one call on the host. Views may have any strides.
///
/// ```
/// use deeploss::{Context, CrossEntropy, Evaluate, Tensors, Want};
/// use ndarray::array;
///
/// let (logits, targets) = (array![[2.0_f32, 0.0]], array![0]);
/// let upstream = ndarray::arr0(10.0_f32);
/// let call = Tensors::new(logits.view(), targets.view()).grad_output(upstream.view()).wants(Want::GRAD);
/// let out = CrossEntropy::new().evaluate(&Context::cpu(), &call)?;
/// assert!(out.loss.is_none());
/// assert!((out.grad_input.unwrap()[[0, 1]] - 1.192_029).abs() < 1e-6);
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tensors<'a, X: Element = f32> {
    /// Logits, log-probabilities, probabilities or scores.
    pub input: ArrayViewD<'a, X>,
    /// The second score or distribution, for losses that compare two.
    pub input2: Option<ArrayViewD<'a, X::Scalar>>,
    /// Labels or values.
    pub target: Target<'a, X::Scalar>,
    /// What is ignored, whatever it holds: rows, of the class indices' shape, or elements, of the input's shape (binary
    /// losses).
    pub ignore_mask: Option<ArrayViewD<'a, bool>>,
    /// A weight per row, of the class indices' shape (losses over rows): multiplies the row's loss, and counts in the
    /// mean. A row that weighs 0 is ignored, whatever it holds.
    pub sample_weight: Option<ArrayViewD<'a, X::Scalar>>,
    /// Upstream gradient, of the loss' shape; 1 if absent.
    pub grad_output: Option<ArrayViewD<'a, X::Scalar>>,
    /// Which outputs to compute.
    pub want: Want,
}

impl<'a, X: Element> Tensors<'a, X> {
    /// Input and target; loss and gradient are wanted.
    pub fn new<D: Dimension>(input: ArrayView<'a, X, D>, target: impl Into<Target<'a, X::Scalar>>) -> Self {
        Self {
            input: input.into_dyn(),
            input2: None,
            target: target.into(),
            ignore_mask: None,
            sample_weight: None,
            grad_output: None,
            want: Want::default(),
        }
    }

    /// Which outputs to compute.
    #[must_use]
    pub fn wants(mut self, want: Want) -> Self {
        self.want = want;
        self
    }

    /// Adds an upstream gradient.
    #[must_use]
    pub fn grad_output<D: Dimension>(mut self, grad_output: ArrayView<'a, X::Scalar, D>) -> Self {
        self.grad_output = Some(grad_output.into_dyn());
        self
    }

    /// Adds a weight per row.
    #[must_use]
    pub fn sample_weight<D: Dimension>(mut self, weight: ArrayView<'a, X::Scalar, D>) -> Self {
        self.sample_weight = Some(weight.into_dyn());
        self
    }

    /// Adds a mask of ignored rows or elements.
    #[must_use]
    pub fn ignore_mask<D: Dimension>(mut self, mask: ArrayView<'a, bool, D>) -> Self {
        self.ignore_mask = Some(mask.into_dyn());
        self
    }

    /// Adds the second input.
    #[must_use]
    pub fn input2<D: Dimension>(mut self, input2: ArrayView<'a, X::Scalar, D>) -> Self {
        self.input2 = Some(input2.into_dyn());
        self
    }

    /// The same call, on another target if there is one.
    pub(crate) fn with_target<'b>(&'b self, target: Option<ArrayViewD<'b, X::Scalar>>) -> Tensors<'b, X> {
        Tensors {
            input: self.input.view(),
            input2: self.input2.as_ref().map(|x| x.view()),
            target: match (target, &self.target) {
                (Some(values), _) => Target::Values(values),
                (None, Target::Indices(t)) => Target::Indices(t.view().into()),
                (None, Target::Values(t)) => Target::Values(t.view()),
            },
            ignore_mask: self.ignore_mask.as_ref().map(|m| m.view()),
            sample_weight: self.sample_weight.as_ref().map(|w| w.view()),
            grad_output: self.grad_output.as_ref().map(|g| g.view()),
            want: self.want,
        }
    }

    /// What is asked when these tensors are evaluated.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let mut problem = Problem::new(self.input.shape(), self.target.kind()).wants(self.want);
        problem.target_shape = Some(self.target.shape().to_vec());
        problem.input2_shape = self.input2.as_ref().map(|x| x.shape().to_vec());
        problem.ignore_mask = self.ignore_mask.is_some();
        problem.sample_weight = self.sample_weight.is_some();
        problem.grad_output = self.grad_output.is_some();
        problem
    }
}

/// Host tensors that own their data, as tests, benches and [`Loss::example_inputs`](crate::Loss::example_inputs) make
/// them.
#[derive(Debug, Clone)]
pub struct OwnedTensors<F = f32> {
    /// See [`Tensors::input`].
    pub input: ArrayD<F>,
    /// See [`Tensors::input2`].
    pub input2: Option<ArrayD<F>>,
    /// See [`Tensors::target`].
    pub target: OwnedTarget<F>,
    /// See [`Tensors::ignore_mask`].
    pub ignore_mask: Option<ArrayD<bool>>,
    /// See [`Tensors::sample_weight`].
    pub sample_weight: Option<ArrayD<F>>,
    /// See [`Tensors::grad_output`].
    pub grad_output: Option<ArrayD<F>>,
}

/// A target that owns its data.
#[derive(Debug, Clone)]
pub enum OwnedTarget<F = f32> {
    /// Class indices or labels.
    Indices(ArrayD<i64>),
    /// Values of the scalar type.
    Values(ArrayD<F>),
}

impl<F: Element<Scalar = F>> OwnedTensors<F> {
    /// Input and target.
    #[must_use]
    pub fn new(input: ArrayD<F>, target: OwnedTarget<F>) -> Self {
        Self { input, input2: None, target, ignore_mask: None, sample_weight: None, grad_output: None }
    }

    /// Views of all tensors; loss and gradient are wanted.
    #[must_use]
    pub fn view(&self) -> Tensors<'_, F> {
        Tensors {
            input: self.input.view(),
            input2: self.input2.as_ref().map(|a| a.view()),
            target: match &self.target {
                OwnedTarget::Indices(t) => Target::Indices(t.view().into()),
                OwnedTarget::Values(t) => Target::Values(t.view()),
            },
            ignore_mask: self.ignore_mask.as_ref().map(|a| a.view()),
            sample_weight: self.sample_weight.as_ref().map(|a| a.view()),
            grad_output: self.grad_output.as_ref().map(|a| a.view()),
            want: Want::default(),
        }
    }
}

impl OwnedTensors<f32> {
    /// The same values in f64, to compare with.
    #[must_use]
    pub fn to_f64(&self) -> OwnedTensors<f64> {
        let wide = |a: &ArrayD<f32>| a.mapv(f64::from);
        OwnedTensors {
            input: wide(&self.input),
            input2: self.input2.as_ref().map(wide),
            target: match &self.target {
                OwnedTarget::Indices(t) => OwnedTarget::Indices(t.clone()),
                OwnedTarget::Values(t) => OwnedTarget::Values(wide(t)),
            },
            ignore_mask: self.ignore_mask.clone(),
            sample_weight: self.sample_weight.as_ref().map(wide),
            grad_output: self.grad_output.as_ref().map(wide),
        }
    }
}

/// An empty vector with room for so many elements, if the system gives as much memory.
pub(crate) fn room_for<T>(count: usize) -> Result<Vec<T>, Error> {
    let mut memory = Vec::new();
    memory.try_reserve_exact(count).map_err(|error| Error::Unsupported {
        what: format!("a result of {} bytes", count.saturating_mul(size_of::<T>())),
        why: error.to_string(),
        instead: "split the batch into several calls",
    })?;
    Ok(memory)
}

/// The outputs of one call on the host. What was not wanted, or what the loss does not have, is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Output<X: Element = f32> {
    /// The loss: shape () if reduced, else one per item.
    pub loss: Option<ArrayD<X::Scalar>>,
    /// Gradient of sum(loss * grad_output) with respect to the input; of its shape and type.
    pub grad_input: Option<ArrayD<X>>,
    /// With respect to the second input.
    pub grad_input2: Option<ArrayD<X::Scalar>>,
    /// With respect to a floating-point target.
    pub grad_target: Option<ArrayD<X::Scalar>>,
    /// Statistics of the rows.
    pub stats: Option<RowStats<X::Scalar>>,
}

/// What [`Want::STATS`] gives of every row, in the class indices' shape. Ignored rows and NaN rows hold NaN, `u32::MAX`
/// and false.
#[derive(Debug, Clone, PartialEq)]
pub struct RowStats<F = f32> {
    /// log sum_j exp x_j, after softcap and temperature.
    pub lse: ArrayD<F>,
    /// -sum_j p_j log p_j, in nats.
    pub entropy: ArrayD<F>,
    /// The first class with the largest logit.
    pub argmax: ArrayD<u32>,
    /// Whether that is the target's class; false where the target holds probabilities.
    pub hit: ArrayD<bool>,
}

impl<X: Element> Output<X> {
    /// The reduced loss (or the first item's); `None` without a loss or of an empty batch.
    #[must_use]
    pub fn scalar(&self) -> Option<X::Scalar> {
        self.loss.as_ref().and_then(|loss| loss.first().copied())
    }
}
