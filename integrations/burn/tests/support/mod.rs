//! Calls of the host API on Burn's tensors.

mod alone;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use deeploss::internals::{OwnedTarget, OwnedTensors};
use deeploss::{Error, Loss, Output, Want};
use deeploss_burn::{Forward, Tensors, check, read};
use ndarray::{ArrayD, IxDyn};

pub(crate) use alone::alone;

/// `body` with the constant that is the rank: Burn has ranks in types.
macro_rules! by_rank {
    ($rank:expr, $R:ident => $body:expr) => {
        match $rank {
            0 | 1 => {
                const $R: usize = 1;
                $body
            }
            2 => {
                const $R: usize = 2;
                $body
            }
            3 => {
                const $R: usize = 3;
                $body
            }
            4 => {
                const $R: usize = 4;
                $body
            }
            5 => {
                const $R: usize = 5;
                $body
            }
            rank => panic!("no test has rank {rank}"),
        }
    };
}

pub(crate) fn ensure<R: Into<String>>(holds: bool, reason: impl FnOnce() -> R) -> Result<(), String> {
    if holds { Ok(()) } else { Err(reason().into()) }
}

/// The device of all tests, with gradients.
pub(crate) fn device() -> Device {
    Device::default().autodiff()
}

/// A tensor of one dimension whose gradient is wanted.
pub(crate) fn leaf(values: &ArrayD<f32>, device: &Device) -> Tensor<1> {
    let flat: Vec<f32> = values.iter().copied().collect();
    let count = flat.len();
    Tensor::<1>::from_data(TensorData::new(flat, [count]), device).require_grad()
}

fn dims<const R: usize>(shape: &[usize]) -> [usize; R] {
    if shape.is_empty() { [1; R] } else { shape.try_into().expect("the rank was looked at") }
}

/// The values of a tensor, in a shape.
pub(crate) fn array<const D: usize>(tensor: Tensor<D>, shape: &[usize]) -> Result<ArrayD<f32>, Error> {
    let values = read(tensor)?.convert::<f32>().try_to_vec::<f32>().expect("f32");
    Ok(ArrayD::from_shape_vec(IxDyn(shape), values).expect("as many values as the shape has"))
}

/// Evaluates a loss as `Evaluate::evaluate` does, by Burn: forward, and backward from the upstream gradient.
pub(crate) fn run(
    device: &Device,
    loss: &dyn Loss,
    inputs: &OwnedTensors,
    want: Want,
    stored: DType,
) -> Result<Output, Error> {
    let lowered = loss.lower(&inputs.view().wants(want).problem())?;
    let (input, input2) = (leaf(&inputs.input, device), inputs.input2.as_ref().map(|values| leaf(values, device)));
    let target = match &inputs.target {
        OwnedTarget::Values(values) => Some(leaf(values, device)),
        OwnedTarget::Indices(_) => None,
    };
    let mut call = by_rank!(inputs.input.ndim(), D => {
        let mut x = input.clone().reshape(dims::<D>(inputs.input.shape()));
        if stored != DType::F32 {
            x = x.cast(stored);
        }
        match &inputs.target {
            OwnedTarget::Values(values) => by_rank!(values.ndim(), T => {
                let target = target.clone().expect("values").reshape(dims::<T>(values.shape()));
                let target = if want.contains(Want::GRAD_TARGET) { target } else { target.detach() };
                Tensors::new(x, target)
            }),
            OwnedTarget::Indices(labels) => by_rank!(labels.ndim(), T => {
                // The runtime's integers have 32 bits: what does not fit is no class either way.
                let labels: Vec<i32> = labels.iter().map(|&label| i32::try_from(label).unwrap_or(i32::MIN)).collect();
                let count = labels.len();
                let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [count]), device);
                Tensors::new(x, labels.reshape(dims::<T>(inputs.target_shape())))
            }),
        }
    });
    if let (Some(values), Some(input2)) = (&inputs.input2, &input2) {
        call = by_rank!(values.ndim(), D => call.input2(input2.clone().reshape(dims::<D>(values.shape()))));
    }
    if let Some(mask) = &inputs.ignore_mask {
        let flat: Vec<bool> = mask.iter().copied().collect();
        let count = flat.len();
        let flat = Tensor::<1, burn::tensor::Bool>::from_data(TensorData::new(flat, [count]), device);
        call = by_rank!(mask.ndim(), D => call.ignore_mask(flat.reshape(dims::<D>(mask.shape()))));
    }
    if let Some(weights) = &inputs.sample_weight {
        let flat = leaf(weights, device).detach();
        call = by_rank!(weights.ndim(), D => call.sample_weight(flat.reshape(dims::<D>(weights.shape()))));
    }
    let count: usize = lowered.loss_shape.iter().product();
    let losses: Tensor<1> = by_rank!(lowered.loss_shape.len(), R => {
        let losses: Tensor<R> = loss.try_call(call)?;
        losses.reshape([count])
    });
    let total = match &inputs.grad_output {
        Some(upstream) => losses.clone() * leaf(upstream, device).detach(),
        None => losses.clone(),
    };
    let grads = total.sum().backward();
    let gradient = |wanted, leaf: Option<&Tensor<1>>, shape: Option<&[usize]>| {
        let (Some(leaf), Some(shape), true) = (leaf, shape, want.contains(wanted)) else { return Ok(None) };
        leaf.grad(&grads).map(|gradient| array(gradient, shape)).transpose()
    };
    let output = Output {
        loss: Some(array(losses.inner(), &lowered.loss_shape)?),
        grad_input: gradient(Want::GRAD, Some(&input), Some(inputs.input.shape()))?,
        grad_input2: gradient(Want::GRAD_INPUT2, input2.as_ref(), inputs.input2.as_ref().map(|x| x.shape()))?,
        grad_target: gradient(Want::GRAD_TARGET, target.as_ref(), Some(inputs.target_shape()))?,
        stats: None,
    };
    check(device)?;
    Ok(output)
}

/// The shape of the target, whatever it holds.
pub(crate) trait TargetShape {
    fn target_shape(&self) -> &[usize];
}

impl TargetShape for OwnedTensors {
    fn target_shape(&self) -> &[usize] {
        match &self.target {
            OwnedTarget::Indices(labels) => labels.shape(),
            OwnedTarget::Values(values) => values.shape(),
        }
    }
}
