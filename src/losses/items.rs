//! What element-wise losses have in common: reduction, item weights, shapes.

use std::sync::Arc;

use ndarray::{ArrayD, ArrayView, Dimension};

use super::Options;
use crate::error::Error;
use crate::kernel::{Broadcast, Denominator, Kernel, Layout, WeightSource};
use crate::link::Part;
use crate::problem::{Problem, Reduction, TargetKind, Want};
use crate::sample::Rng;
use crate::tensors::{OwnedTarget, OwnedTensors};

/// A weight tensor that broadcasts to the input's shape.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct ItemWeight {
    source: WeightSource,
    shape: Vec<usize>,
}

impl ItemWeight {
    pub(super) fn host<D: Dimension>(values: ArrayView<'_, f32, D>) -> Self {
        let shape = values.shape().to_vec();
        Self { source: WeightSource::Host(Arc::from(values.iter().copied().collect::<Vec<_>>())), shape }
    }

    pub(super) fn buffer(shape: &[usize]) -> Self {
        Self { source: WeightSource::Buffer, shape: shape.to_vec() }
    }

    fn of(tensor: Option<&ArrayD<f32>>) -> Self {
        tensor.map_or_else(Self::default, |tensor| Self::host(tensor.view()))
    }

    fn given(&self) -> Option<&[usize]> {
        (self.source != WeightSource::None).then_some(&self.shape)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Items {
    pub(super) weight: ItemWeight,
    pub(super) pos_weight: ItemWeight,
    pub(super) reduction: Reduction,
    pub(super) empty: f32,
}

impl Default for Items {
    fn default() -> Self {
        Self {
            weight: ItemWeight::default(),
            pos_weight: ItemWeight::default(),
            reduction: Reduction::Mean,
            empty: f32::NAN,
        }
    }
}

/// What a loss takes besides an input and a target of its shape.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Takes {
    /// A second input; all three broadcast.
    pub(super) input2: bool,
    /// A gradient of the target exists.
    pub(super) grad_target: bool,
    /// The reduction `BatchMean`.
    pub(super) batch_mean: bool,
    /// A mask of ignored items.
    pub(super) mask: bool,
}

impl Items {
    pub(super) fn from_options(options: &Options) -> Result<Self, Error> {
        Ok(Self {
            weight: ItemWeight::of(options.tensor("weight")?),
            pos_weight: ItemWeight::of(options.tensor("pos_weight")?),
            reduction: options.reduction()?,
            empty: f32::NAN,
        })
    }

    /// Lowers a loss onto the element-wise skeleton.
    pub(super) fn kernel(&self, problem: &Problem, source: Part, takes: Takes, params: &[u8]) -> Result<Kernel, Error> {
        if problem.target == TargetKind::Indices {
            return Err(Error::value("target", "floating-point values", "class indices"));
        }
        let wrong = |what: &str| Err(Error::value("want", "outputs that this loss has", what));
        if problem.want.contains(Want::GRAD_TARGET) && !takes.grad_target {
            return wrong("the gradient of the target");
        }
        if problem.want.contains(Want::GRAD_INPUT2) && !takes.input2 {
            return wrong("the gradient of a second input");
        }
        if problem.ignore_mask && !takes.mask {
            return Err(Error::value("ignore_mask", "none: this loss does not take one", "a mask"));
        }
        if problem.want.contains(Want::STATS) {
            return wrong("statistics of rows");
        }
        if problem.input2_shape.is_some() && !takes.input2 {
            return Err(Error::value("input2", "none: this loss takes one input", "a second input"));
        }
        if problem.sample_weight {
            return Err(Error::value(
                "sample_weight",
                "none: weights of elements are an option of the loss",
                "weights",
            ));
        }
        let input = problem.shape.as_slice();
        let target = problem.target_shape.as_deref().unwrap_or(input);
        let input2 = takes.input2.then(|| problem.input2_shape.as_deref().unwrap_or(input));
        if !takes.input2 && target != input {
            return Err(Error::shape("target", input, target));
        }
        let second = if problem.ignore_mask { Some(input) } else { input2 };
        let shape = Broadcast::new(&[
            ("input", Some(input)),
            ("target", Some(target)),
            ("input2", second),
            ("weight", self.weight.given()),
            ("pos_weight", self.pos_weight.given()),
        ])?;
        if !takes.input2 && shape.shape != input {
            return Err(Error::Shape {
                argument: "weight",
                expected: format!("a shape that broadcasts to the input's, {input:?}"),
                got: format!("{:?} and {:?}", self.weight.shape, self.pos_weight.shape),
            });
        }
        let denominator = match self.reduction {
            Reduction::Mean if problem.ignore_mask => Denominator::Counted,
            Reduction::Mean => Denominator::Fixed(shape.items() as f64),
            Reduction::BatchMean if takes.batch_mean => Denominator::Fixed(input.first().copied().unwrap_or(1) as f64),
            Reduction::BatchMean => return Err(Error::value("reduction", "none, mean or sum", "batchmean")),
            Reduction::None | Reduction::Sum => Denominator::Fixed(1.0),
        };
        Ok(Kernel {
            source,
            flags: Vec::new(),
            params: params.to_vec(),
            labels: None,
            weighs_mean: false,
            revisits: false,
            marks: false,
            checked: None,
            weight: self.weight.source.clone(),
            pos_weight: self.pos_weight.source.clone(),
            mask: problem.ignore_mask,
            sample_weight: false,
            item_shape: shape.shape.clone(),
            reduction: self.reduction,
            denominator,
            empty: self.empty,
            target_shape: target.to_vec(),
            loss_shape: if self.reduction == Reduction::None { shape.shape.clone() } else { Vec::new() },
            layout: Layout::Items(Box::new(shape)),
        })
    }
}

/// +1 or -1.
pub(super) fn sign(rng: &mut Rng) -> f32 {
    if rng.below(2) == 0 { 1.0 } else { -1.0 }
}

/// Scores of standard deviation 3, and targets drawn by `target`.
pub(super) fn sample(shape: &[usize], seed: u64, mut target: impl FnMut(&mut Rng) -> f32) -> OwnedTensors {
    let mut rng = Rng::new(seed);
    let input = ArrayD::from_shape_simple_fn(shape, || 3.0 * rng.normal());
    let targets = ArrayD::from_shape_simple_fn(shape, || target(&mut rng));
    OwnedTensors::new(input, OwnedTarget::Values(targets))
}

/// The builder methods of a loss that holds [`Items`] in the field `items`.
macro_rules! item_builders {
    () => {
        /// How the items' losses are combined; the mean by default.
        #[must_use]
        pub fn reduction(mut self, reduction: crate::Reduction) -> Self {
            self.items.reduction = reduction;
            self
        }

        /// The mean over nothing: NaN by default, as in PyTorch.
        #[must_use]
        pub fn on_empty(mut self, loss: f32) -> Self {
            self.items.empty = loss;
            self
        }
    };
}
pub(super) use item_builders;

/// The builder methods of a loss with item weights.
macro_rules! item_weight_builders {
    () => {
        /// Weights that broadcast to the input's shape: (C), (C, 1, 1), scalar ...; read in place.
        #[must_use]
        pub fn weight<D: ndarray::Dimension>(mut self, weight: ndarray::ArrayView<'_, f32, D>) -> Self {
            self.items.weight = crate::losses::items::ItemWeight::host(weight);
            self
        }

        /// Weights of this shape come from [`Buffers::weight`](crate::Buffers::weight) at every record.
        #[must_use]
        pub fn weight_from_buffer(mut self, shape: &[usize]) -> Self {
            self.items.weight = crate::losses::items::ItemWeight::buffer(shape);
            self
        }
    };
}
pub(super) use item_weight_builders;

/// Implements [`Loss`](super::Loss) and [`Twin`](super::Twin) for an element-wise loss: a type with a field `items: Items`, a
/// method `params(&self) -> Result<_, Error>` that checks the options and gives the bytes of `Params` (`Pod`, a multiple of 16),
/// a method `draw(&self, shape, seed)` for [`Loss::sample`](super::Loss::sample), and an `ItemTwin`. `flags` are a function of the
/// loss: which of its `override` constants are true.
macro_rules! item_loss {
    ($loss:ident, $wgsl:literal, $takes:expr $(, checked: $checked:expr)? $(, flags: $flags:expr)?) => {
        impl crate::losses::Loss for $loss {
            fn info(&self) -> &'static crate::losses::LossInfo {
                &INFO
            }

            fn kernel(&self, problem: &crate::Problem) -> Result<crate::kernel::Kernel, crate::Error> {
                let params = self.params()?;
                #[allow(unused_mut)]
                let mut kernel =
                    self.items.kernel(problem, crate::link::part!($wgsl), $takes, bytemuck::bytes_of(&params))?;
                $(kernel.checked = Some($checked);)?
                $(kernel.flags = $flags(self);)?
                Ok(kernel)
            }

            fn with_reduction(&self, reduction: crate::Reduction) -> Box<dyn crate::losses::Loss> {
                Box::new(self.clone().reduction(reduction))
            }

            fn sample(&self, shape: &[usize], seed: u64) -> crate::OwnedTensors {
                self.draw(shape, seed)
            }
        }
    };
}
pub(super) use item_loss;
