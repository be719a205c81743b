//! What callers see: a loss that goes forward on Burn's tensors.

use burn::backend::ops::{BoolTensorOps, FloatTensorOps, IntTensorOps};
use burn::backend::{
    BackendTensor, DType, Dispatch, DispatchAutodiffContext, DispatchDevice, DispatchTensor, DispatchTensorKind,
    FloatDType, IntDType, TensorMetadata,
};
#[cfg(not(target_family = "wasm"))]
use burn::tensor::TensorData;
use burn::tensor::kind::{Basic, Kind};
use burn::tensor::{Bool, Device, Tensor};
use burn_cubecl::CubeDevice;
use deeploss::{Error, Loss, Problem, Reduction, TargetKind, Want};

use crate::call::{Asked, Call, storage};
use crate::machine::Machine;
use crate::ops::{Floats, FusedLoss, Ints, Labels, Operands};

/// The tensors of one call: input and target, and what some losses or options take besides.
///
/// ```no_run
/// use burn::tensor::{Device, Int, Tensor};
/// use deeploss_burn::{CrossEntropy, Forward, Tensors};
///
/// # fn example(logits: Tensor<2>, targets: Tensor<1, Int>, weights: Tensor<1>) -> Result<(), deeploss_burn::Error> {
/// let call = Tensors::new(logits, targets).sample_weight(weights);
/// let loss: Tensor<1> = CrossEntropy::new().try_call(call)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Tensors {
    input: DispatchTensor,
    target: (Kind, DispatchTensor),
    input2: Option<DispatchTensor>,
    weight: Option<DispatchTensor>,
    pos_weight: Option<DispatchTensor>,
    sample_weight: Option<DispatchTensor>,
    ignore_mask: Option<DispatchTensor>,
}

impl Tensors {
    /// Input and target: class indices, or a value per element as floats, integers or booleans.
    pub fn new<const D: usize, const T: usize, K: Basic>(input: Tensor<D>, target: Tensor<T, K>) -> Self {
        Self {
            input: input.into_dispatch(),
            target: (K::KIND, target.into_dispatch()),
            input2: None,
            weight: None,
            pos_weight: None,
            sample_weight: None,
            ignore_mask: None,
        }
    }

    /// The second input of a loss that compares two; it has a gradient too.
    #[must_use]
    pub fn input2<const D: usize>(mut self, input2: Tensor<D>) -> Self {
        self.input2 = Some(input2.into_dispatch());
        self
    }

    /// Weights of a loss that was made with `weight_from_buffer`: of its classes, or of its elements. They have no
    /// gradient.
    #[must_use]
    pub fn weight<const D: usize>(mut self, weight: Tensor<D>) -> Self {
        self.weight = Some(weight.into_dispatch());
        self
    }

    /// Weights of the positive part, of a loss that was made with `pos_weight_from_buffer`. They have no
    /// gradient.
    #[must_use]
    pub fn pos_weight<const D: usize>(mut self, pos_weight: Tensor<D>) -> Self {
        self.pos_weight = Some(pos_weight.into_dispatch());
        self
    }

    /// A weight per row, of the class indices' shape. A row that weighs 0 is ignored, whatever it holds.
    /// They have no gradient.
    #[must_use]
    pub fn sample_weight<const D: usize>(mut self, weight: Tensor<D>) -> Self {
        self.sample_weight = Some(weight.into_dispatch());
        self
    }

    /// What is ignored, whatever it holds: rows, of the class indices' shape, or elements.
    #[must_use]
    pub fn ignore_mask<const D: usize>(mut self, mask: Tensor<D, Bool>) -> Self {
        self.ignore_mask = Some(mask.into_dispatch());
        self
    }

    fn all(&self) -> impl Iterator<Item = (&'static str, &DispatchTensor)> {
        let optional = [
            ("input2", &self.input2),
            ("weight", &self.weight),
            ("pos_weight", &self.pos_weight),
            ("sample_weight", &self.sample_weight),
            ("ignore_mask", &self.ignore_mask),
        ];
        let given = optional.into_iter().filter_map(|(name, tensor)| tensor.as_ref().map(|tensor| (name, tensor)));
        [("input", &self.input), ("target", &self.target.1)].into_iter().chain(given)
    }

    /// The call of a loss on these tensors, and they as its kernels take them.
    fn prepare<L: Loss + ?Sized>(self, loss: &L) -> Result<(Operands<Dispatch>, Asked), Error> {
        let machine = Machine::of(&self.device()?)?;
        let shape = self.input.shape().to_vec();
        let target_shape = self.target.1.shape().to_vec();
        let target = labels(self.target, loss.takes_class_indices());
        let kind = match target {
            Labels::Indices(_) => TargetKind::Indices,
            Labels::Values(_) => TargetKind::Values,
        };
        let dtype = storage(self.input.dtype())?;
        let problem = |target_shape: &[usize]| {
            let mut problem =
                Problem::new(&shape, kind).input_dtype(dtype).grad_dtype(dtype).target_shape(target_shape);
            if let Some(input2) = &self.input2 {
                problem = problem.input2_shape(&input2.shape().to_vec());
            }
            if self.ignore_mask.is_some() {
                problem = problem.with_ignore_mask();
            }
            if self.sample_weight.is_some() {
                problem = problem.with_sample_weight();
            }
            problem
        };
        let call = match Call::of(&machine, loss, problem(&target_shape)) {
            // What has no dimensions in PyTorch, as the target of one row, has one of size 1 here.
            Err(error @ Error::Shape { argument: "target", .. }) if target_shape == [1] => {
                Call::of(&machine, loss, problem(&[])).map_err(|_| error)?
            }
            call => call?,
        };
        call.check_given(&[
            ("target", Some(target_shape)),
            ("input2", self.input2.as_ref().map(|tensor| tensor.shape().to_vec())),
            ("weight", self.weight.as_ref().map(|tensor| tensor.shape().to_vec())),
            ("pos_weight", self.pos_weight.as_ref().map(|tensor| tensor.shape().to_vec())),
            ("sample_weight", self.sample_weight.as_ref().map(|tensor| tensor.shape().to_vec())),
            ("ignore_mask", self.ignore_mask.as_ref().map(|tensor| tensor.shape().to_vec())),
        ])?;
        let operands = Operands {
            input: self.input,
            target,
            input2: floats(self.input2),
            weight: floats(self.weight),
            pos_weight: floats(self.pos_weight),
            sample_weight: floats(self.sample_weight),
            ignore_mask: match self.ignore_mask {
                Some(mask) => Ints::Given(Dispatch::bool_into_int(mask, IntDType::I32)),
                None => Ints::Absent,
            },
        };
        for (argument, weights) in [
            ("weight", &operands.weight),
            ("pos_weight", &operands.pos_weight),
            ("sample_weight", &operands.sample_weight),
        ] {
            if matches!(weights, Floats::Given(tensor) if is_tracked(tensor)) {
                return Err(Error::Unsupported {
                    what: format!("the gradient of `{argument}`"),
                    why: "kernels compute those of inputs and targets".into(),
                    instead: "detach it: `tensor.detach()`",
                });
            }
        }
        let tracked = tracked(&operands);
        if !tracked.is_empty() {
            call.check_gradients(tracked)?;
        }
        Ok((operands, Asked { call, want: Want::LOSS }))
    }

    /// The device that all tensors are on.
    fn device(&self) -> Result<CubeDevice, Error> {
        let device = cube_device(self.input.device())?;
        let mut context = self.input.autodiff;
        for (name, tensor) in self.all() {
            if let DType::QFloat(_) = tensor.dtype() {
                return Err(Error::Unsupported {
                    what: format!("`{name}` in quantized form"),
                    why: "kernels read numbers as they are".into(),
                    instead: "dequantize it: `tensor.dequantize()`",
                });
            }
            let other = cube_device(tensor.device())?;
            if other != device {
                return Err(Error::Value {
                    argument: name,
                    expected: format!("a tensor on the device of `input`, {device:?}"),
                    got: format!("one on {other:?}"),
                });
            }
            context = match (context, tensor.autodiff) {
                (DispatchAutodiffContext::Disabled, other) | (other, DispatchAutodiffContext::Disabled) => other,
                (one, other) if one == other => one,
                (one, other) => {
                    return Err(Error::Value {
                        argument: name,
                        expected: format!("the gradient checkpointing of the other tensors, {one:?}"),
                        got: format!("{other:?}"),
                    });
                }
            };
        }
        Ok(device)
    }
}

/// The runtime's device.
pub(crate) fn cube_device(device: DispatchDevice) -> Result<CubeDevice, Error> {
    match device {
        DispatchDevice::Cube(device) => Ok(device),
        DispatchDevice::Autodiff(device) => cube_device(device.inner()),
        // Where Burn was built with other backends.
        #[allow(unreachable_patterns)]
        device => Err(Error::Unsupported {
            what: format!("the device {device:?}"),
            why: "deeploss runs on Burn's wgpu devices".into(),
            instead: "use `Device::wgpu(..)`, or Burn's own losses",
        }),
    }
}

/// Values in f32, as kernels take all but the input. Burn differentiates the cast.
fn float(tensor: DispatchTensor) -> DispatchTensor {
    if tensor.dtype() == DType::F32 { tensor } else { Dispatch::float_cast(tensor, FloatDType::F32) }
}

fn floats(tensor: Option<DispatchTensor>) -> Floats<Dispatch> {
    tensor.map_or(Floats::Absent, |tensor| Floats::Given(float(tensor)))
}

/// The target as the loss takes it.
fn labels((kind, tensor): (Kind, DispatchTensor), takes_indices: bool) -> Labels<Dispatch> {
    match (kind, takes_indices) {
        (Kind::Float, _) => Labels::Values(float(tensor)),
        (Kind::Int, true) => Labels::Indices(indices(tensor)),
        (Kind::Int, false) => Labels::Values(Dispatch::int_into_float(tensor, FloatDType::F32)),
        (Kind::Bool, true) => Labels::Indices(Dispatch::bool_into_int(tensor, IntDType::I32)),
        (Kind::Bool, false) => Labels::Values(Dispatch::bool_into_float(tensor, FloatDType::F32)),
    }
}

/// Class indices in i32. What does not fit is no class, and must not become one.
fn indices(tensor: DispatchTensor) -> DispatchTensor {
    match tensor.dtype() {
        DType::I32 => tensor,
        DType::I64 => {
            let within = Dispatch::int_clamp(tensor, i32::MIN.into(), i32::MAX.into());
            Dispatch::int_cast(within, IntDType::I32)
        }
        DType::U32 | DType::U64 => Dispatch::int_cast(Dispatch::int_clamp_max(tensor, i32::MAX.into()), IntDType::I32),
        _ => Dispatch::int_cast(tensor, IntDType::I32),
    }
}

fn is_tracked(tensor: &DispatchTensor) -> bool {
    let DispatchTensorKind::Autodiff(inner) = &tensor.kind else { return false };
    matches!(&**inner, DispatchTensorKind::Cube(BackendTensor::Autodiff(tensor)) if tensor.is_tracked())
}

/// The gradients that a backward pass will ask for.
fn tracked(operands: &Operands<Dispatch>) -> Want {
    let mut want = Want::empty();
    want.set(Want::GRAD, is_tracked(&operands.input));
    want.set(Want::GRAD_INPUT2, matches!(&operands.input2, Floats::Given(tensor) if is_tracked(tensor)));
    want.set(Want::GRAD_TARGET, matches!(&operands.target, Labels::Values(tensor) if is_tracked(tensor)));
    want
}

/// A loss on Burn's tensors; every [`Loss`] has it.
///
/// ```no_run
/// use burn::tensor::{Device, Int, Tensor};
/// use deeploss_burn::{CrossEntropy, Forward};
///
/// let device = Device::default().autodiff();
/// let logits = Tensor::<2>::from_floats([[2.0, 0.0], [0.0, 1.0]], &device).require_grad();
/// let targets = Tensor::<1, Int>::from_ints([0, 1], &device);
/// let loss = CrossEntropy::new().label_smoothing(0.1).forward(logits.clone(), targets);
/// let gradients = loss.backward();
/// println!("{}", logits.grad(&gradients).unwrap());
/// ```
///
/// Like Burn's own kernels, a loss fails when its result is read: [`forward`](Self::forward) does not panic. What is
/// wrong with its arguments goes to the log at once, makes the loss NaN, and is the error of the next [`check`] or
/// [`read`]. [`try_forward`](Self::try_forward) returns it. So it is with class indices out of range, which only the
/// device finds: their rows have loss NaN and gradient 0. A loss that could not be computed at all is one NaN, whatever
/// its shape was to be, with NaN for its gradient.
pub trait Forward: Loss {
    /// The loss, as its reduction has it: one number; without a reduction one for each row of `[N, C]`, or each element
    /// of `[N]`. f32, whatever the input is stored as.
    ///
    /// The target is a class index per row, or a value per element: floats, integers or booleans, as [`Loss`] says.
    /// Losses of more than one dimension come from [`call`](Self::call) or
    /// [`forward_no_reduction`](Self::forward_no_reduction).
    fn forward<const D: usize, const T: usize, K: Basic>(&self, input: Tensor<D>, target: Tensor<T, K>) -> Tensor<1> {
        self.call(Tensors::new(input, target))
    }

    /// [`forward`](Self::forward), with errors.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Value`], [`Error::Missing`]: what does not fit; [`Error::Unsupported`] and
    /// [`Error::Device`] from the machine.
    fn try_forward<const D: usize, const T: usize, K: Basic>(
        &self,
        input: Tensor<D>,
        target: Tensor<T, K>,
    ) -> Result<Tensor<1>, Error> {
        self.try_call(Tensors::new(input, target))
    }

    /// The losses of the rows or elements, whatever the loss' reduction: of the shape of the class indices, or of the
    /// input (losses per element).
    fn forward_no_reduction<const D: usize, const T: usize, const R: usize, K: Basic>(
        &self,
        input: Tensor<D>,
        target: Tensor<T, K>,
    ) -> Tensor<R> {
        self.with_reduction(Reduction::None).call(Tensors::new(input, target))
    }

    /// The loss of any call: with weights, a mask, a second input. R is the rank of the loss, which is 1 if it is
    /// reduced.
    fn call<const R: usize>(&self, tensors: Tensors) -> Tensor<R> {
        let input = tensors.input.clone();
        self.try_call(tensors).unwrap_or_else(|error| failed(input, error))
    }

    /// [`call`](Self::call), with errors.
    ///
    /// # Errors
    /// As [`try_forward`](Self::try_forward); [`Error::Shape`] if the loss has another rank than R.
    fn try_call<const R: usize>(&self, tensors: Tensors) -> Result<Tensor<R>, Error>;
}

impl<L: Loss + ?Sized> Forward for L {
    fn try_call<const R: usize>(&self, tensors: Tensors) -> Result<Tensor<R>, Error> {
        const { assert!(R > 0, "a tensor of Burn's has one dimension at least") };
        let (operands, asked) = tensors.prepare(self)?;
        let shape = asked.call.loss_shape();
        if shape.num_dims() != R {
            return Err(Error::Shape {
                argument: "loss",
                expected: format!("{R} dimension(s), as the caller takes it"),
                got: format!("{:?}; take it as `Tensor<{}>`", shape.to_vec(), shape.num_dims()),
            });
        }
        Ok(Tensor::from_dispatch(Dispatch::fused_loss(operands, asked)))
    }
}

/// What stands for a loss that could not be computed: NaN, with NaN for its gradient.
fn failed<const R: usize>(input: DispatchTensor, error: Error) -> Tensor<R> {
    match cube_device(input.device()).and_then(|device| Machine::of(&device)) {
        Ok(machine) => machine.report(error),
        Err(_) => log::error!("deeploss: {error}"),
    }
    if let DType::QFloat(_) = input.dtype() {
        return Tensor::full([1; R], f32::NAN, &Device::from(input.device()));
    }
    let nan = Dispatch::float_mul_scalar(Dispatch::float_sum(float(input)), f32::NAN.into());
    Tensor::<1>::from_dispatch(nan).reshape([1; R])
}

/// The first error that losses on this device have found since it was asked for last: [`Error::Invalid`] of class
/// indices that are no classes, and whatever made a [`forward`](Forward::forward) NaN. Waits for the device. Not in a
/// browser, which cannot wait: errors are in its log.
///
/// # Errors
/// That error; [`Error::Unsupported`] of a device that losses do not run on; [`Error::Device`] if it fails.
#[cfg(not(target_family = "wasm"))]
pub fn check(device: &Device) -> Result<(), Error> {
    let machine = Machine::of(&cube_device(device.as_dispatch().clone())?)?;
    // What Burn's fusion has put off is launched first.
    device.sync().map_err(|error| Error::device(format!("the device cannot be waited for: {error}")))?;
    machine.check()
}

/// The data of a tensor, unless losses on its device have found something: see [`check`], whose errors come first.
///
/// # Errors
/// As [`check`]; [`Error::Device`] if it cannot be read.
#[cfg(not(target_family = "wasm"))]
pub fn read<const D: usize, K: Basic>(tensor: Tensor<D, K>) -> Result<TensorData, Error> {
    check(&tensor.device())?;
    tensor.try_into_data().map_err(|error| Error::device(format!("the tensor cannot be read: {error}")))
}
