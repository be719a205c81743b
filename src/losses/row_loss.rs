//! What losses over rows of classes have in common: class weights, ignored indices, reduction, class axis.

use super::Pieces;
use super::options::{OptionField, Reader};
use super::weight::{self, WeightOption};
use crate::error::Error;
use crate::lowered::{
    Checked, Denominator, Layout, Lowered, MAX_IGNORED, RowLayout, RowTargets, WeightSource, ignore_code,
};
use crate::problem::{Problem, Reduction, RowShape, TargetKind, Want, without_axis};
#[cfg(feature = "host")]
use crate::{
    sample::Rng,
    tensors::{OwnedTarget, OwnedTensors},
};

/// The options of a loss over rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RowOptions {
    pub(super) weight: WeightOption,
    pub(super) ignore: Vec<i64>,
    pub(super) reduction: Reduction,
    pub(super) class_axis: Option<usize>,
    pub(super) on_empty: f32,
}

/// What a loss over rows takes, and asks of the kernel template.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowSupports {
    /// Class indices as targets.
    pub(super) indices: bool,
    /// Lists of class indices as targets.
    pub(super) lists: bool,
    /// Values as targets, one per logit.
    pub(super) values: bool,
    /// A gradient of the values exists.
    pub(super) grad_target: bool,
    /// The mean divides by the non-ignored rows, which are counted; else by the number of rows.
    pub(super) counted: bool,
    /// There, rows count with the weight of their class.
    pub(super) weighs_mean: bool,
    /// Statistics of the rows.
    pub(super) stats: bool,
    /// No sum over the classes.
    pub(super) one_class: bool,
    /// A look at all classes before they are summed.
    pub(super) peak: bool,
    /// A second pass over the classes.
    pub(super) second_pass: bool,
    /// Without a chosen axis, classes are the last one.
    pub(super) last_axis: bool,
    /// Class weights may be of any shape that broadcasts to the logits', and so differ from row to row.
    pub(super) row_weights: bool,
    /// The target of one row alone may have a dimension of size 1 that the logits do not have, or lack it: as PyTorch's
    /// margin losses have it.
    pub(super) loose_row: bool,
}

impl RowSupports {
    pub(super) const NONE: Self = Self {
        indices: false,
        lists: false,
        values: false,
        grad_target: false,
        counted: false,
        weighs_mean: false,
        stats: false,
        one_class: false,
        peak: false,
        second_pass: false,
        last_axis: false,
        row_weights: false,
        loose_row: false,
    };
}

impl RowSupports {
    pub(super) const fn takes_class_indices(self) -> bool {
        self.indices || self.lists
    }
}

impl RowOptions {
    /// Whether a class index is ignored.
    pub(super) fn ignores(&self, target: i64) -> bool {
        self.ignore.contains(&target)
    }

    /// No weights, -100 ignored, mean reduction.
    pub(super) fn new() -> Self {
        Self {
            weight: WeightOption::None,
            ignore: vec![-100],
            reduction: Reduction::Mean,
            class_axis: None,
            on_empty: f32::NAN,
        }
    }

    /// Without ignored class indices.
    pub(super) fn none_ignored() -> Self {
        Self { ignore: Vec::new(), ..Self::new() }
    }

    /// Reads what every loss over rows has.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        self.reduction.read("reduction", reader)?;
        self.on_empty.read("on_empty", reader)?;
        self.class_axis.read("class_axis", reader)
    }

    /// Reads class weights that may differ from row to row.
    pub(super) fn row_weight(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        self.weight.read("weight", reader)
    }

    /// Reads class weights.
    pub(super) fn weight(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        self.row_weight(reader)?;
        match self.weight.shape() {
            Some(shape) if shape.len() != 1 => {
                Err(Error::Shape { argument: "weight", expected: "(C)".into(), got: format!("{shape:?}") })
            }
            _ => Ok(()),
        }
    }

    /// Reads ignored indices.
    pub(super) fn ignore(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        self.ignore =
            match (reader.integer("ignore_index", self.ignore.first().copied())?, reader.integers("ignore_indices")?) {
                (None, None) => return Ok(()),
                (Some(index), None) => vec![index],
                (None, Some(indices)) => indices,
                (Some(index), Some(_)) => {
                    return Err(Error::value("ignore_index", "none beside ignore_indices", index));
                }
            };
        Ok(())
    }

    /// The rows of an input.
    pub(super) fn shape(&self, input: &[usize], supports: RowSupports) -> Result<RowShape, Error> {
        let last = supports.last_axis.then(|| input.len().saturating_sub(1));
        RowShape::of(input, self.class_axis.or(last))
    }

    /// Lowers a loss onto the template of rows.
    pub(super) fn lower(
        &self,
        problem: &Problem,
        rows: RowShape,
        supports: RowSupports,
        pieces: Pieces<'_>,
    ) -> Result<Lowered, Error> {
        let (weight, row_weights) = self.weights(&problem.shape, rows, supports)?;
        if self.reduction == Reduction::BatchMean {
            return Err(Error::value("reduction", "none, mean or sum", "batchmean"));
        }
        if self.ignore.len() > MAX_IGNORED {
            return Err(Error::value("ignore_index", format!("at most {MAX_IGNORED} values"), self.ignore.len()));
        }
        if problem.input2_shape.is_some() {
            return Err(Error::value("input2", "none: this loss takes one input", "a second input"));
        }
        let target = match problem.target {
            TargetKind::Indices if supports.lists => RowTargets::Lists,
            TargetKind::Indices if supports.indices => {
                RowTargets::Indices { ignore: self.ignore.iter().map(|&index| ignore_code(index)).collect() }
            }
            TargetKind::Values if supports.values => RowTargets::Values,
            TargetKind::Indices => return Err(Error::value("target", "floating-point values", "class indices")),
            TargetKind::Values => return Err(Error::value("target", NEEDS_INTEGERS, "floating-point values")),
        };
        let target_shape = target_shape(problem, rows, supports, &target)?;
        let wrong = |what: &str| Err(Error::value("want", "outputs of this loss", what));
        if problem.want.is_empty() {
            return wrong("none");
        }
        if problem.want.contains(Want::GRAD_TARGET) && !(supports.grad_target && target == RowTargets::Values) {
            return wrong("the gradient of a target that has none");
        }
        if problem.want.contains(Want::GRAD_INPUT2) {
            return wrong("the gradient of a second input, which it does not have");
        }
        if problem.want.contains(Want::STATS) && !supports.stats {
            return wrong("statistics of rows");
        }
        let (checked, is_counted) = match &target {
            RowTargets::Indices { .. } => (Some(Checked::Labels), supports.counted),
            RowTargets::Lists => (Some(Checked::LabelLists), false),
            RowTargets::Values => (None, false),
        };
        // One class index per row, of whatever shape PyTorch takes.
        let row_shape = match &target {
            RowTargets::Indices { .. } => target_shape.clone(),
            RowTargets::Lists | RowTargets::Values => without_axis(&problem.shape, rows.axis),
        };
        Ok(Lowered {
            source: pieces.source,
            flags: pieces.flags,
            params: pieces.params.to_vec(),
            weight,
            checked,
            reduction: self.reduction,
            denominator: match self.reduction {
                Reduction::Mean if problem.sample_weight || problem.ignore_mask || is_counted => Denominator::Counted,
                Reduction::Mean => Denominator::Fixed(rows.rows() as f64),
                _ => Denominator::Fixed(1.0),
            },
            empty: self.on_empty.to_bits(),
            item_shape: row_shape.clone(),
            target_shape,
            loss_shape: if self.reduction == Reduction::None { row_shape } else { Vec::new() },
            layout: Layout::Rows(RowLayout {
                shape: rows,
                target,
                weighs_mean: supports.weighs_mean,
                one_class: supports.one_class,
                peak: supports.peak,
                second_pass: supports.second_pass,
                sample_weight: problem.sample_weight,
                mask: problem.ignore_mask,
                row_weights,
            }),
        })
    }

    /// Class weights as kernels read them, of shape (C), or of the logits' shape where they differ from row to row; and
    /// whether they do.
    fn weights(&self, shape: &[usize], rows: RowShape, supports: RowSupports) -> Result<(WeightSource, bool), Error> {
        let WeightOption::Host(weight) = &self.weight else { return Ok((self.weight.source(), false)) };
        if weight.shape() == [rows.classes] {
            return Ok((self.weight.source(), false));
        }
        if !supports.row_weights {
            return Err(Error::shape("weight", &[rows.classes], weight.shape()));
        }
        let one_row: Vec<usize> =
            (0..shape.len()).map(|axis| if axis == rows.axis { shape[axis] } else { 1 }).collect();
        if let Some(values) = weight.broadcast_to(&one_row)? {
            return Ok((WeightSource::Host(values), false));
        }
        let values = weight.broadcast_to(shape)?;
        let values = values.ok_or_else(|| weight::does_not_broadcast("weight", weight.shape(), shape))?;
        Ok((WeightSource::Host(values), true))
    }

    /// Logits of standard deviation 3 and classes, one in eight ignored.
    #[cfg(feature = "host")]
    pub(super) fn example_inputs(&self, shape: &[usize], seed: u64, target: TargetKind) -> OwnedTensors {
        let mut rng = Rng::new(seed);
        let input = ndarray::ArrayD::from_shape_simple_fn(shape, || 3.0 * rng.normal());
        let rows = RowShape::of(shape, self.class_axis);
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
}

const NEEDS_INTEGERS: &str = "class indices, which need integers";

/// The shape of the target, which the problem may name.
fn target_shape(
    problem: &Problem,
    rows: RowShape,
    supports: RowSupports,
    target: &RowTargets,
) -> Result<Vec<usize>, Error> {
    let shape = problem.shape.as_slice();
    let labels = without_axis(shape, rows.axis);
    let expected = if matches!(target, RowTargets::Indices { .. }) { labels.as_slice() } else { shape };
    let given = problem.target_shape.as_deref().unwrap_or(expected);
    let is_loose = supports.loose_row
        && shape.len().max(given.len()) <= 1
        && given.iter().product::<usize>() == expected.iter().product();
    if given == expected || is_loose {
        return Ok(given.to_vec());
    }
    let last = shape.len().saturating_sub(1);
    if *target == RowTargets::Values && supports.indices && given == labels {
        let expected = format!("{NEEDS_INTEGERS}, or probabilities of shape {shape:?}");
        return Err(Error::value("target", expected, format!("floating-point values of shape {given:?}")));
    }
    if expected == labels && given == without_axis(shape, last) {
        let expected = format!("{expected:?}, or `class_axis({last})` if the classes are the last axis");
        return Err(Error::Shape { argument: "target", expected, got: format!("{given:?}") });
    }
    Err(Error::shape("target", expected, given))
}

/// Test weights of classes; one of them is 0.
pub(super) fn example_weight(classes: usize) -> Vec<f32> {
    (0..classes).map(|c| if c == 2 { 0.0 } else { 0.5 + (c % 7) as f32 * 0.25 }).collect()
}

/// Everything that losses over rows repeat. The type has a field `rows: RowOptions`, and beside it there are:
///
/// - `Params`, with the fields `params`, and the fields of the loss that are `options` by name;
/// - `fn pieces(&self, problem: &Problem, classes: usize) -> Result<(Params, Flags), Error>`, which checks the options;
/// - `fn variants(classes: usize) -> Vec<Self>`, and an `impl RowReference`, the formula for the CPU.
///
/// `shared` are the builder methods that only some losses over rows have: `weight` or `row_weight`, `ignore`.
/// `examples` draws test inputs.
macro_rules! row_loss {
    (
        $loss:ident {
            name: $name:literal,
            pytorch: $pytorch:literal,
            formula: $formula:literal,
            wgsl: $wgsl:literal,
            params: [$($param:ident),*],
            options: [$($option:ident),*],
            shared: [$($shared:ident),*],
            supports: $supports:expr,
            examples: |$this:ident, $shape:ident, $seed:ident| $examples:expr $(,)?
        }
    ) => {
        crate::losses::loss_basics! {
            $loss, rows, RowReference, $name, $pytorch, $formula,
            params: [$($param),*], options: [$($option),*], shared: [$($shared),*],
            supports: $supports,
            lower: |loss, problem| {
                let rows = loss.rows.shape(problem.shape(), $supports)?;
                let (params, flags) = loss.pieces(problem, rows.classes)?;
                let params = bytemuck::bytes_of(&params);
                let pieces = crate::losses::Pieces { source: crate::wgsl::part!($wgsl), flags, params };
                loss.rows.lower(problem, rows, $supports, pieces)
            },
            examples: |$this, $shape, $seed| $examples
        }

        impl $loss {
            /// The axis of the classes. Read in place, never transposed.
            #[must_use]
            pub fn class_axis(mut self, axis: usize) -> Self {
                self.rows.class_axis = Some(axis);
                self
            }

            $(crate::losses::row_loss::row_loss!(@$shared);)*
        }
    };
    (@weight) => {
        crate::losses::row_loss::row_loss!(@weight "One weight per class, of shape (C).");
    };
    (@row_weight) => {
        crate::losses::row_loss::row_loss!(
            @weight "Weights of classes, of shape (C) or any that broadcasts to the logits': (N, C) weighs each element."
        );
    };
    (@weight $doc:literal) => {
        #[doc = $doc]
        #[must_use]
        pub fn weight(mut self, weight: impl Into<crate::Weight>) -> Self {
            self.rows.weight = crate::losses::weight::WeightOption::Host(weight.into());
            self
        }

        /// Class weights, of shape (C), come from [`Buffers::weight`](crate::Buffers::weight) at every record.
        #[must_use]
        pub fn weight_from_buffer(mut self) -> Self {
            self.rows.weight = crate::losses::weight::WeightOption::Buffer(Vec::new());
            self
        }
    };
    (@ignore) => {
        /// Rows with this class index are ignored, whatever their logits hold; -100 by default.
        #[must_use]
        pub fn ignore_index(mut self, index: i64) -> Self {
            self.rows.ignore = vec![index];
            self
        }

        /// Several ignored indices (at most four), or none.
        #[must_use]
        pub fn ignore_indices(mut self, indices: impl Into<Vec<i64>>) -> Self {
            self.rows.ignore = indices.into();
            self
        }
    };
}
pub(super) use row_loss;
