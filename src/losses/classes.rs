//! What losses over class indices have in common: class weights, ignored indices, reduction, class axis.

use std::sync::Arc;

use super::Options;
use crate::error::Error;
use crate::kernel::{Checked, Denominator, Kernel, Labels, Layout, WeightSource, ignore_code};
use crate::link::Part;
use crate::problem::{Problem, Reduction, RowShape, TargetKind, Want, without_axis};
use crate::sample::Rng;
use crate::tensors::{OwnedTarget, OwnedTensors};

/// Indices that can be ignored at once: the places in `Frame.ignore`.
const MAX_IGNORED: usize = 4;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Classes {
    pub(super) weight: WeightSource,
    pub(super) ignore: Vec<i64>,
    pub(super) reduction: Reduction,
    pub(super) axis: Option<usize>,
    pub(super) empty: f32,
}

impl Default for Classes {
    fn default() -> Self {
        Self { weight: WeightSource::None, ignore: vec![-100], reduction: Reduction::Mean, axis: None, empty: f32::NAN }
    }
}

/// What a loss over classes takes, and asks of the skeleton.
#[derive(Debug, Clone, Default)]
pub(super) struct Takes {
    /// Class indices as targets.
    pub(super) indices: bool,
    /// Values as targets, one per logit.
    pub(super) values: bool,
    /// A gradient of the values exists.
    pub(super) grad_target: bool,
    /// The mean divides by the weights of the class indices that count; else by the number of rows.
    pub(super) counted: bool,
    /// Statistics of the rows.
    pub(super) stats: bool,
    /// A second pass over the classes.
    pub(super) revisits: bool,
    /// Boolean `override` constants.
    pub(super) flags: Vec<(&'static str, bool)>,
}

impl Classes {
    /// Without ignored class indices.
    pub(super) fn none_ignored() -> Self {
        Self { ignore: Vec::new(), ..Self::default() }
    }

    pub(super) fn with_options(self, options: &Options) -> Result<Self, Error> {
        let mut classes = Self { reduction: options.reduction()?, ..self };
        if let Some(index) = options.integer("ignore_index")? {
            classes.ignore = vec![index];
        }
        if let Some(weight) = options.tensor("weight")? {
            if weight.ndim() != 1 {
                return Err(Error::Shape {
                    argument: "weight",
                    expected: "(C)".into(),
                    got: format!("{:?}", weight.shape()),
                });
            }
            classes.weight = WeightSource::Host(weight.iter().copied().collect());
        }
        Ok(classes)
    }

    /// The number of classes.
    pub(super) fn count(&self, problem: &Problem) -> Result<usize, Error> {
        RowShape::of(&problem.shape, self.axis).map(|rows| rows.classes)
    }

    /// Lowers a loss onto the row skeleton.
    pub(super) fn kernel(&self, problem: &Problem, source: Part, takes: Takes, params: &[u8]) -> Result<Kernel, Error> {
        let rows = RowShape::of(&problem.shape, self.axis)?;
        if let WeightSource::Host(weight) = &self.weight
            && weight.len() != rows.classes
        {
            return Err(Error::shape("weight", &[rows.classes], &[weight.len()]));
        }
        if self.reduction == Reduction::BatchMean {
            return Err(Error::value("reduction", "none, mean or sum", "batchmean"));
        }
        if self.ignore.len() > MAX_IGNORED {
            return Err(Error::value("ignore_index", format!("at most {MAX_IGNORED} values"), self.ignore.len()));
        }
        if problem.input2_shape.is_some() {
            return Err(Error::value("input2", "none: this loss takes one input", "a second input"));
        }
        if problem.ignore_mask {
            return Err(Error::value("ignore_mask", "none: rows are ignored by their class index", "a mask"));
        }
        let indices = problem.target == TargetKind::Indices;
        if indices && !takes.indices {
            return Err(Error::value("target", "floating-point values", "class indices"));
        }
        if !indices && !takes.values {
            return Err(Error::value("target", "class indices", "floating-point values"));
        }
        if problem.want.contains(Want::GRAD_TARGET) && (indices || !takes.grad_target) {
            return Err(Error::value("want", "outputs of this loss", "the gradient of a target that has none"));
        }
        if problem.want.contains(Want::GRAD_INPUT2) {
            return Err(Error::value(
                "want",
                "outputs of this loss",
                "the gradient of a second input, which it does not have",
            ));
        }
        if problem.want.contains(Want::STATS) && !takes.stats {
            return Err(Error::value("want", "outputs of this loss", "statistics of rows"));
        }
        let row_shape = without_axis(&problem.shape, rows.axis);
        Ok(Kernel {
            source,
            flags: takes.flags,
            params: params.to_vec(),
            layout: Layout::Rows(rows),
            labels: indices.then(|| Labels { ignore: self.ignore.iter().map(|&v| ignore_code(v)).collect() }),
            weighs_mean: takes.counted,
            revisits: takes.revisits,
            marks: false,
            checked: indices.then_some(Checked::Labels),
            weight: self.weight.clone(),
            pos_weight: WeightSource::None,
            mask: false,
            sample_weight: problem.sample_weight,
            item_shape: row_shape.clone(),
            reduction: self.reduction,
            denominator: match self.reduction {
                Reduction::Mean if problem.sample_weight || (indices && takes.counted) => Denominator::Counted,
                Reduction::Mean => Denominator::Fixed(rows.rows() as f64),
                _ => Denominator::Fixed(1.0),
            },
            empty: self.empty,
            target_shape: if indices { row_shape.clone() } else { problem.shape.clone() },
            loss_shape: if self.reduction == Reduction::None { row_shape } else { Vec::new() },
        })
    }

    /// Logits of standard deviation 3 and classes, one in eight ignored.
    pub(super) fn sample(&self, shape: &[usize], seed: u64, target: TargetKind) -> OwnedTensors {
        let mut rng = Rng::new(seed);
        let input = ndarray::ArrayD::from_shape_simple_fn(shape, || 3.0 * rng.normal());
        let rows = RowShape::of(shape, self.axis);
        let (axis, classes) = rows.map_or((0, 1), |rows| (rows.axis, rows.classes));
        let target = match target {
            TargetKind::Indices => {
                let labels = without_axis(shape, axis);
                OwnedTarget::Indices(ndarray::ArrayD::from_shape_simple_fn(labels, || match self.ignore.first() {
                    Some(&index) if rng.below(8) == 0 => index,
                    _ => rng.below(classes) as i64,
                }))
            }
            TargetKind::Values => OwnedTarget::Values(ndarray::ArrayD::from_shape_simple_fn(shape, || {
                2.0 * rng.uniform() / classes as f32
            })),
        };
        OwnedTensors::new(input, target)
    }

    pub(super) fn set_weight(&mut self, weight: impl Into<Vec<f32>>) {
        self.weight = WeightSource::Host(Arc::from(weight.into()));
    }
}

/// Test weights of so many classes; one of them 0.
pub(super) fn sample_weight(classes: usize) -> Vec<f32> {
    (0..classes).map(|c| if c == 2 { 0.0 } else { 0.5 + (c % 7) as f32 * 0.25 }).collect()
}

/// The builder methods of a loss that holds [`Classes`] in the field `classes`: those of every such loss, and with `ignore` or
/// `weight` those of losses that ignore class indices or weigh classes.
macro_rules! class_builders {
    ($($more:ident),*) => {
        /// How the rows' losses are combined; the mean by default.
        #[must_use]
        pub fn reduction(mut self, reduction: crate::Reduction) -> Self {
            self.classes.reduction = reduction;
            self
        }

        /// The mean over nothing (an empty batch, or every row ignored): NaN by default, as in PyTorch.
        #[must_use]
        pub fn on_empty(mut self, loss: f32) -> Self {
            self.classes.empty = loss;
            self
        }

        /// The axis of the classes. Read in place, never transposed.
        #[must_use]
        pub fn class_axis(mut self, axis: usize) -> Self {
            self.classes.axis = Some(axis);
            self
        }

        $(crate::losses::classes::class_builders!(@$more);)*
    };
    (@weight) => {
        /// One weight per class, on the host.
        #[must_use]
        pub fn weight(mut self, weight: impl Into<Vec<f32>>) -> Self {
            self.classes.set_weight(weight);
            self
        }

        /// Class weights come from [`Buffers::weight`](crate::Buffers::weight) at every record.
        #[must_use]
        pub fn weight_from_buffer(mut self) -> Self {
            self.classes.weight = crate::kernel::WeightSource::Buffer;
            self
        }
    };
    (@ignore) => {
        /// Rows with this class index count for nothing, whatever their logits hold; -100 by default.
        #[must_use]
        pub fn ignore_index(mut self, index: i64) -> Self {
            self.classes.ignore = vec![index];
            self
        }

        /// Several ignored indices (at most four), or none.
        #[must_use]
        pub fn ignore_indices(mut self, indices: impl Into<Vec<i64>>) -> Self {
            self.classes.ignore = indices.into();
            self
        }
    };
}
pub(super) use class_builders;
