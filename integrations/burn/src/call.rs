//! One call of a loss, planned: what its tensors must be, and how it runs on Burn's device.

use std::sync::{Arc, Mutex, PoisonError};

#[cfg(feature = "fusion")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::ops::FloatTensorOps;
use burn::backend::{DType, FloatDType, Shape, TensorMetadata};
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::server::Handle;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice};
use deeploss::internals::{Layout, Lowered, RowShape, TensorId, WeightSource};
use deeploss::{Dtype, Error, Loss, Plan, Problem, Want};

use crate::launch::Planned;
use crate::machine::{Machine, Status};
use crate::ops::{Floats, FusedGradients, Ints, Labels, Operands};

/// A call of a loss on tensors of certain shapes and types, on a device.
#[derive(Debug)]
pub(crate) struct Call {
    machine: Arc<Machine>,
    loss: Box<dyn Loss>,
    problem: Problem,
    pub(crate) lowered: Lowered,
    plans: Mutex<Vec<(Way, Outcome)>>,
}

/// What planning came to; a plan that fails fails every time.
type Outcome = Result<Arc<Planned>, Error>;

/// Which of a call's kernels.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Way {
    want: Want,
    /// The gradient of the input takes the input's place.
    in_place: bool,
    /// The rows as they lie in memory, where that is not as the shape has them.
    rows: Option<RowShape>,
}

/// What an operation of Burn's is told.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) call: Arc<Call>,
    pub(crate) want: Want,
}

impl Asked {
    pub(crate) fn wants(self, want: Want) -> Self {
        Self { want, ..self }
    }

    #[cfg(feature = "fusion")]
    pub(crate) fn loss_spec(&self) -> TensorSpec {
        TensorSpec::new(self.call.loss_shape(), DType::F32)
    }

    #[cfg(feature = "fusion")]
    pub(crate) fn gradient_specs(&self, operands: &crate::ops::OperandsMetadata) -> crate::ops::FusedGradientsMetadata {
        use crate::ops::{FloatsMetadata, FusedGradientsMetadata, LabelsMetadata};

        let given = |want, spec: &TensorSpec| match self.want.contains(want) {
            true => FloatsMetadata::Given(spec.clone()),
            false => FloatsMetadata::Absent,
        };
        FusedGradientsMetadata {
            input: given(Want::GRAD, &operands.input),
            input2: match &operands.input2 {
                FloatsMetadata::Given(spec) => given(Want::GRAD_INPUT2, spec),
                FloatsMetadata::Absent => FloatsMetadata::Absent,
            },
            target: match &operands.target {
                LabelsMetadata::Values(spec) => given(Want::GRAD_TARGET, spec),
                LabelsMetadata::Indices(_) => FloatsMetadata::Absent,
            },
        }
    }
}

impl Call {
    /// The call on a machine, planned already if it was made before. Every option and shape is checked here.
    pub(crate) fn of<L: Loss + ?Sized>(machine: &Arc<Machine>, loss: &L, problem: Problem) -> Result<Arc<Self>, Error> {
        let problem = problem.wants(Want::LOSS);
        let lowered = loss.lower(&problem)?;
        machine.call(
            |call| call.lowered == lowered && call.problem == problem,
            || {
                let loss = loss.with_reduction(lowered.reduction);
                let call = Self {
                    machine: machine.clone(),
                    loss,
                    problem: problem.clone(),
                    lowered: lowered.clone(),
                    plans: Mutex::default(),
                };
                call.planned(Way { want: Want::LOSS, in_place: false, rows: None })?;
                Ok(call)
            },
        )
    }

    /// That the given tensors have the shapes that the loss takes, and that what it takes is given.
    pub(crate) fn check_given(&self, given: &[(&'static str, Option<Vec<usize>>)]) -> Result<(), Error> {
        let lowered = &self.lowered;
        let (two, pos_weight) = match &lowered.layout {
            Layout::Rows(_) => (false, None),
            Layout::Items(layout) => {
                (layout.broadcast.second.is_some() && !layout.mask, layout.broadcast.pos_weight.as_ref())
            }
        };
        for &(argument, ref got) in given {
            let (is_taken, instead) = match argument {
                "weight" => (lowered.weight == WeightSource::Buffer, "`weight_from_buffer` of the loss"),
                "pos_weight" => (*lowered.pos_weight() == WeightSource::Buffer, "`pos_weight_from_buffer` of the loss"),
                "input2" => (two, "a loss of two inputs"),
                _ => (got.is_some(), ""),
            };
            let Some(got) = got else {
                if is_taken {
                    return Err(Error::Missing {
                        argument,
                        why: "the loss takes it; give it with the method of `Tensors` of this name",
                    });
                }
                continue;
            };
            if !is_taken {
                let expected = format!("none, without {instead}");
                return Err(Error::Value { argument, expected, got: "a tensor".into() });
            }
            let expected = match argument {
                "target" => lowered.target_shape.clone(),
                "sample_weight" | "ignore_mask" => lowered.item_shape.clone(),
                "weight" => match &lowered.layout {
                    Layout::Rows(rows) if rows.row_weights => self.problem.shape().to_vec(),
                    Layout::Rows(rows) => vec![rows.shape.classes],
                    Layout::Items(layout) => {
                        layout.broadcast.weight.as_ref().map_or_else(Vec::new, |weight| weight.shape.clone())
                    }
                },
                "pos_weight" => pos_weight.map_or_else(Vec::new, |weight| weight.shape.clone()),
                _ => continue,
            };
            // What has no dimensions in PyTorch has one of size 1 here.
            if *got != expected && !(expected.is_empty() && got[..] == [1]) {
                return Err(Error::Shape { argument, expected: format!("{expected:?}"), got: format!("{got:?}") });
            }
        }
        Ok(())
    }

    /// That gradients can be computed as well, of these inputs.
    pub(crate) fn check_gradients(&self, want: Want) -> Result<(), Error> {
        self.planned(Way { want, in_place: false, rows: None }).map(|_| ())
    }

    /// The shape of the loss: a tensor of Burn's has one dimension at least.
    pub(crate) fn loss_shape(&self) -> Shape {
        match &self.lowered.loss_shape[..] {
            [] => [1].into(),
            shape => shape.to_vec().into(),
        }
    }

    fn planned(&self, way: Way) -> Outcome {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, planned)) = plans.iter().find(|(known, _)| *known == way) {
            return planned.clone();
        }
        let planned = self.plan(way).map(Arc::new);
        plans.push((way, planned.clone()));
        planned
    }

    fn plan(&self, way: Way) -> Result<Planned, Error> {
        let mut problem = self.problem.clone().wants(way.want);
        if way.want != Want::LOSS {
            problem = problem.with_grad_output();
        }
        if way.in_place {
            problem = problem.grad_in_place();
        }
        let mut lowered = self.loss.lower(&problem)?;
        if let (Layout::Rows(layout), Some(rows)) = (&mut lowered.layout, way.rows) {
            layout.shape = rows;
        }
        if way.want != Want::LOSS {
            // The loss has reported what is invalid.
            lowered.checked = None;
        }
        let plan = Plan::new(&lowered, &problem, &self.machine.facts, None)?;
        log::debug!("deeploss planned a call:\n{plan}");
        Ok(Planned::new(&lowered, plan))
    }

    /// Computes the loss. What fails is reported, and gives NaN: an operation that Burn has put off has nobody to
    /// return an error to.
    pub(crate) fn loss(&self, operands: Operands<CubeBackend>) -> CubeTensor {
        let tensors = self.settle(operands);
        let way = Way { want: Want::LOSS, in_place: false, rows: tensors.rows };
        let loss = tensors.output(self.loss_shape(), DType::F32);
        let launched = self.planned(way).and_then(|planned| {
            let work = planned.launch(&tensors.client, |tensor| match tensor {
                TensorId::Loss => Some(loss.handle.clone()),
                _ => tensors.handle(tensor),
            })?;
            Ok(planned.plan.checked().zip(work))
        });
        match launched {
            Ok(Some(((checked, range), work))) => {
                let rest = work.size_in_used().saturating_sub(range.end);
                let words = work.offset_start(range.start).offset_end(rest);
                self.machine.watch(Status { checked, client: tensors.client.clone(), words });
                loss
            }
            Ok(None) => loss,
            Err(error) => {
                self.machine.report(error);
                nan(self.loss_shape(), &tensors.device, FloatDType::F32)
            }
        }
    }

    /// Computes the gradients that are wanted, that of the input in place of the input where nobody else has it.
    pub(crate) fn gradients(
        &self,
        operands: Operands<CubeBackend>,
        grad_output: CubeTensor,
        want: Want,
    ) -> FusedGradients<CubeBackend> {
        let tensors = self.settle(operands);
        let grad_output = settled(grad_output, "grad_output", &self.machine.facts);
        let way = Way { want, in_place: false, rows: tensors.rows };
        let in_place = Way { in_place: true, ..way };
        // Element-wise losses would compute each item twice for it.
        let has_rows = matches!(self.lowered.layout, Layout::Rows(_));
        let may = has_rows && want.contains(Want::GRAD) && tensors.input.can_mut();
        let planned = match may.then(|| self.planned(in_place)) {
            // Where a gradient cannot be in place, it has a place of its own.
            Some(Ok(planned)) => Ok((planned, true)),
            _ => self.planned(way).map(|planned| (planned, false)),
        };
        let like = |tensor: &CubeTensor| {
            let gradient = tensors.output(tensor.shape(), tensor.dtype);
            CubeTensor { meta: tensor.meta.clone(), ..gradient }
        };
        let wanted = |want_this, tensor: Option<&CubeTensor>| tensor.filter(|_| want.contains(want_this)).map(like);
        let input2 = wanted(Want::GRAD_INPUT2, tensors.input2.as_ref());
        let target = wanted(Want::GRAD_TARGET, Some(&tensors.target));
        let launched = planned.and_then(|(planned, is_in_place)| {
            let input = match is_in_place {
                true => Some(tensors.input.clone()),
                false => wanted(Want::GRAD, Some(&tensors.input)),
            };
            planned.launch(&tensors.client, |tensor| {
                let output = match tensor {
                    TensorId::GradInput => &input,
                    TensorId::GradInput2 => &input2,
                    TensorId::GradTarget => &target,
                    TensorId::GradOutput => return Some(grad_output.handle.clone()),
                    _ => return tensors.handle(tensor),
                };
                output.as_ref().map(|output| output.handle.clone())
            })?;
            Ok(input)
        });
        let (input, input2, target) = launched.map(|input| (input, input2, target)).unwrap_or_else(|error| {
            self.machine.report(error);
            let failed = |want_this, tensor: Option<&CubeTensor>| {
                let tensor = tensor.filter(|_| want.contains(want_this))?;
                Some(nan(tensor.shape(), &tensors.device, tensor.dtype.into()))
            };
            (
                failed(Want::GRAD, Some(&tensors.input)),
                failed(Want::GRAD_INPUT2, tensors.input2.as_ref()),
                failed(Want::GRAD_TARGET, Some(&tensors.target)),
            )
        });
        FusedGradients { input: input.into(), input2: input2.into(), target: target.into() }
    }

    /// The tensors as kernels read them: dense, and where a binding may begin.
    fn settle(&self, operands: Operands<CubeBackend>) -> Settled {
        let facts = &self.machine.facts;
        let settle = |tensor, name| settled(tensor, name, facts);
        let floats = |floats, name| match floats {
            Floats::Given(tensor) => Some(settle(tensor, name)),
            Floats::Absent => None,
        };
        let rows = match &self.lowered.layout {
            Layout::Rows(layout) if layout.has_indices() && !layout.row_weights => {
                rows_in_memory(&operands.input, layout.shape)
            }
            _ => None,
        };
        let rows = rows.filter(|_| is_aligned(&operands.input, facts));
        let input = match rows {
            Some(_) => operands.input,
            None => settle(operands.input, "input"),
        };
        Settled {
            client: input.client.clone(),
            device: input.device.clone(),
            rows,
            input,
            target: match operands.target {
                Labels::Indices(tensor) | Labels::Values(tensor) => settle(tensor, "target"),
            },
            input2: floats(operands.input2, "input2"),
            weight: floats(operands.weight, "weight"),
            pos_weight: floats(operands.pos_weight, "pos_weight"),
            sample_weight: floats(operands.sample_weight, "sample_weight"),
            ignore_mask: match operands.ignore_mask {
                Ints::Given(tensor) => Some(settle(tensor, "ignore_mask")),
                Ints::Absent => None,
            },
        }
    }
}

impl From<Option<CubeTensor>> for Floats<CubeBackend> {
    fn from(tensor: Option<CubeTensor>) -> Self {
        tensor.map_or(Self::Absent, Self::Given)
    }
}

/// The tensors of a call as its kernels read them.
struct Settled {
    client: Client,
    device: CubeDevice,
    rows: Option<RowShape>,
    input: CubeTensor,
    target: CubeTensor,
    input2: Option<CubeTensor>,
    weight: Option<CubeTensor>,
    pos_weight: Option<CubeTensor>,
    sample_weight: Option<CubeTensor>,
    ignore_mask: Option<CubeTensor>,
}

impl Settled {
    fn handle(&self, tensor: TensorId) -> Option<Handle> {
        let tensor = match tensor {
            TensorId::Input => Some(&self.input),
            TensorId::Target => Some(&self.target),
            TensorId::Input2 => self.input2.as_ref(),
            TensorId::Weight => self.weight.as_ref(),
            TensorId::PosWeight => self.pos_weight.as_ref(),
            TensorId::SampleWeight => self.sample_weight.as_ref(),
            TensorId::IgnoreMask => self.ignore_mask.as_ref(),
            _ => None,
        };
        tensor.map(|tensor| tensor.handle.clone())
    }

    /// A dense tensor that holds nothing yet.
    fn output(&self, shape: Shape, dtype: DType) -> CubeTensor {
        let bytes = shape.num_elements() * dtype.size();
        let handle = self.client.empty(bytes);
        CubeTensor::new_contiguous(self.client.clone(), self.device.clone(), shape, handle, dtype)
    }
}

/// A tensor that lies densely where a binding may begin: itself, or a copy.
fn settled(tensor: CubeTensor, name: &str, facts: &deeploss::AdapterFacts) -> CubeTensor {
    // What is tiled lies in another order whatever its strides say.
    if tensor.meta.is_tiled() || !tensor.is_contiguous() {
        log::debug!("deeploss copies `{name}`: its elements do not lie in the order of their indices");
        return into_contiguous(tensor);
    }
    if !is_aligned(&tensor, facts) {
        log::debug!("deeploss copies `{name}`: it begins where no binding may");
        return tensor.copy();
    }
    tensor
}

fn is_aligned(tensor: &CubeTensor, facts: &deeploss::AdapterFacts) -> bool {
    tensor.handle.offset_start.unwrap_or(0).is_multiple_of(facts.offset_alignment)
}

/// The rows of a tensor whose class axis is elsewhere in memory than in its shape, with its other axes in order and
/// nothing between: `Some` where it can be read as it lies.
fn rows_in_memory(tensor: &CubeTensor, rows: RowShape) -> Option<RowShape> {
    let (shape, strides) = (tensor.meta.shape(), tensor.meta.strides());
    if tensor.meta.is_tiled() || tensor.is_contiguous() {
        return None;
    }
    let mut axes: Vec<usize> = (0..shape.num_dims()).filter(|&axis| shape[axis] != 1).collect();
    axes.sort_by_key(|&axis| std::cmp::Reverse(strides[axis]));
    let others: Vec<usize> = axes.iter().copied().filter(|&axis| axis != rows.axis).collect();
    let mut dense = 1;
    let is_dense = axes.iter().rev().all(|&axis| {
        let fits = strides[axis] == dense;
        dense *= shape[axis];
        fits
    });
    let at = axes.iter().position(|&axis| axis == rows.axis)?;
    let product = |axes: &[usize]| axes.iter().map(|&axis| shape[axis]).product();
    (is_dense && others.is_sorted()).then(|| RowShape {
        outer: product(&axes[..at]),
        inner: product(&axes[at + 1..]),
        ..rows
    })
}

fn nan(shape: Shape, device: &CubeDevice, dtype: FloatDType) -> CubeTensor {
    CubeBackend::float_full(shape, f32::NAN.into(), device, dtype)
}

/// How a tensor's elements are stored, where kernels can read them.
pub(crate) fn storage(dtype: DType) -> Result<Dtype, Error> {
    match dtype {
        DType::F32 | DType::Flex32 => Ok(Dtype::F32),
        DType::F16 => Ok(Dtype::F16),
        DType::BF16 => Ok(Dtype::Bf16),
        other => Err(Error::Unsupported {
            what: format!("an input of {other:?}"),
            why: "kernels read f32, f16 and bf16".into(),
            instead: "cast it: `input.cast(FloatDType::F32)`",
        }),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use deeploss::{BceWithLogits, CrossEntropy, TargetKind};

    use super::*;

    /// A loop plans once: what its calls are told apart by is equal to itself, NaN included.
    #[test]
    fn equal_calls_are_one_call() {
        let device = Device::default();
        let machine = Machine::of(&crate::forward::cube_device(device.as_dispatch().clone()).unwrap()).unwrap();
        let rows = || Problem::new(&[13, 7], TargetKind::Indices);
        let items = || Problem::new(&[13, 7], TargetKind::Values);
        let loss = CrossEntropy::new().weight([1.0; 7]);
        let call = |loss: &dyn Loss, problem| Call::of(&machine, loss, problem).unwrap();
        let first = call(&loss, rows());
        assert!(Arc::ptr_eq(&first, &call(&loss.clone(), rows())));
        assert!(!Arc::ptr_eq(&first, &call(&loss.clone().label_smoothing(0.1), rows())));
        assert!(!Arc::ptr_eq(&first, &call(&loss.weight([2.0; 7]), rows())));
        let first = call(&BceWithLogits::new(), items());
        assert!(Arc::ptr_eq(&first, &call(&BceWithLogits::new(), items())));
        assert!(!Arc::ptr_eq(&first, &call(&BceWithLogits::new(), items().with_ignore_mask())));
    }
}
