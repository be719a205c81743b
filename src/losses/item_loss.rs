//! What element-wise losses have in common: reduction, weights of elements, shapes; and the losses that differ in their
//! formula alone.

use bytemuck::{Pod, Zeroable};

use super::Pieces;
use super::options::{OptionField, Reader};
use super::weight::{self, WeightOption};
use crate::broadcast::Broadcast;
use crate::error::Error;
use crate::lowered::{Checked, Denominator, ItemLayout, Layout, Lowered};
use crate::problem::{Problem, Reduction, TargetKind, Want};
#[cfg(feature = "host")]
use crate::{
    sample::Rng,
    tensors::{OwnedTarget, OwnedTensors},
};

/// The options of an element-wise loss.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ItemOptions {
    pub(super) weight: WeightOption,
    pub(super) pos_weight: WeightOption,
    pub(super) reduction: Reduction,
    pub(super) on_empty: f32,
}

/// What an element-wise loss takes besides an input and a target of its shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct ItemSupports {
    /// A second input.
    pub(super) input2: bool,
    /// Input, second input and target broadcast against each other; else the target has the input's shape.
    pub(super) broadcasts: bool,
    /// A gradient of the target exists.
    pub(super) grad_target: bool,
    /// The reduction `BatchMean`.
    pub(super) batch_mean: bool,
    /// A mask of ignored items.
    pub(super) mask: bool,
    /// Values of the input that the loss is not defined for.
    pub(super) checked: Option<Checked>,
}

impl ItemSupports {
    pub(super) const NONE: Self =
        Self { input2: false, broadcasts: false, grad_target: false, batch_mean: false, mask: false, checked: None };
}

impl ItemSupports {
    /// Elements have values as targets.
    pub(super) const fn takes_class_indices(self) -> bool {
        false
    }
}

impl ItemOptions {
    /// No element is ignored for its value.
    pub(super) fn ignores(&self, _: i64) -> bool {
        false
    }

    /// No weights, mean reduction.
    pub(super) fn new() -> Self {
        Self {
            weight: WeightOption::None,
            pos_weight: WeightOption::None,
            reduction: Reduction::Mean,
            on_empty: f32::NAN,
        }
    }

    /// Reads what every element-wise loss has.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        self.reduction.read("reduction", reader)?;
        self.on_empty.read("on_empty", reader)
    }

    /// Reads weights of elements.
    pub(super) fn weight(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        self.weight.read("weight", reader)
    }

    /// Reads weights of the positive part.
    pub(super) fn pos_weight(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        self.pos_weight.read("pos_weight", reader)
    }

    /// Lowers a loss onto the template of elements.
    pub(super) fn lower(
        &self,
        problem: &Problem,
        supports: ItemSupports,
        pieces: Pieces<'_>,
    ) -> Result<Lowered, Error> {
        if problem.target == TargetKind::Indices {
            return Err(Error::value("target", "floating-point values", "class indices"));
        }
        let wrong = |what: &str| Err(Error::value("want", "outputs that this loss has", what));
        if problem.want.is_empty() {
            return wrong("none");
        }
        if problem.want.contains(Want::GRAD_TARGET) && !supports.grad_target {
            return wrong("the gradient of the target");
        }
        if problem.want.contains(Want::GRAD_INPUT2) && !supports.input2 {
            return wrong("the gradient of a second input");
        }
        if problem.ignore_mask && !supports.mask {
            return Err(Error::value("ignore_mask", "none: this loss does not take one", "a mask"));
        }
        if problem.want.contains(Want::STATS) {
            return wrong("statistics of rows");
        }
        if problem.input2_shape.is_some() && !supports.input2 {
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
        let input2 = supports.input2.then(|| problem.input2_shape.as_deref().unwrap_or(input));
        if !supports.broadcasts && target != input {
            return Err(Error::shape("target", input, target));
        }
        let second = if problem.ignore_mask { Some(input) } else { input2 };
        let (weight, pos_weight) = (self.weight.shape(), self.pos_weight.shape());
        for (argument, shape) in [("weight", weight), ("pos_weight", pos_weight)] {
            if let Some(shape) = shape.filter(|shape| !weight::broadcasts(shape, input)) {
                return Err(weight::does_not_broadcast(argument, shape, input));
            }
        }
        let broadcast = Broadcast::new(&[
            ("input", Some(input)),
            ("target", Some(target)),
            ("input2", second),
            ("weight", weight),
            ("pos_weight", pos_weight),
        ])?;
        let denominator = match self.reduction {
            Reduction::Mean if problem.ignore_mask => Denominator::Counted,
            Reduction::Mean => Denominator::Fixed(broadcast.items() as f64),
            Reduction::BatchMean if supports.batch_mean => {
                Denominator::Fixed(input.first().copied().unwrap_or(1) as f64)
            }
            Reduction::BatchMean => return Err(Error::value("reduction", "none, mean or sum", "batchmean")),
            Reduction::None | Reduction::Sum => Denominator::Fixed(1.0),
        };
        Ok(Lowered {
            source: pieces.source,
            flags: pieces.flags,
            params: pieces.params.to_vec(),
            weight: self.weight.source(),
            checked: supports.checked,
            reduction: self.reduction,
            denominator,
            empty: self.on_empty.to_bits(),
            item_shape: broadcast.shape.clone(),
            target_shape: target.to_vec(),
            loss_shape: if self.reduction == Reduction::None { broadcast.shape.clone() } else { Vec::new() },
            layout: Layout::Items(Box::new(ItemLayout {
                broadcast,
                pos_weight: self.pos_weight.source(),
                mask: problem.ignore_mask,
            })),
        })
    }
}

/// +1 or -1.
#[cfg(feature = "host")]
pub(super) fn sign(rng: &mut Rng) -> f32 {
    if rng.below(2) == 0 { 1.0 } else { -1.0 }
}

/// 0 or 1, and one in four between them.
#[cfg(feature = "host")]
pub(super) fn soft_label(rng: &mut Rng) -> f32 {
    if rng.below(4) == 0 { rng.uniform() } else { rng.below(2) as f32 }
}

/// Scores of standard deviation 3, and targets drawn by `target`.
#[cfg(feature = "host")]
pub(super) fn example_inputs(shape: &[usize], seed: u64, mut target: impl FnMut(&mut Rng) -> f32) -> OwnedTensors {
    let mut rng = Rng::new(seed);
    let input = ndarray::ArrayD::from_shape_simple_fn(shape, || 3.0 * rng.normal());
    let targets = ndarray::ArrayD::from_shape_simple_fn(shape, || target(&mut rng));
    OwnedTensors::new(input, OwnedTarget::Values(targets))
}

/// Everything that element-wise losses repeat. The type has a field `items: ItemOptions`, and beside it there are:
///
/// - `Params`, with the fields `params`, and the fields of the loss that are `options` by name;
/// - `fn pieces(&self) -> Result<(Params, Flags), Error>`, which checks the options;
/// - `fn variants(classes: usize) -> Vec<Self>`, and an `impl ItemReference`, the formula for the CPU.
///
/// `shared` are the builder methods that only some element-wise losses have: `weight`, `pos_weight`. `examples` draws
/// test inputs.
macro_rules! item_loss {
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
            $loss, items, ItemReference, $name, $pytorch, $formula,
            params: [$($param),*], options: [$($option),*], shared: [$($shared),*],
            supports: $supports,
            lower: |loss, problem| {
                let (params, flags) = loss.pieces()?;
                let params = bytemuck::bytes_of(&params);
                let pieces = crate::losses::Pieces { source: crate::wgsl::part!($wgsl), flags, params };
                loss.items.lower(problem, $supports, pieces)
            },
            examples: |$this, $shape, $seed| $examples
        }

        impl $loss {
            $(crate::losses::item_loss::item_loss!(@$shared);)*
        }
    };
    (@weight) => {
        /// Weights that broadcast to the input's shape: a number, (C), (C, 1, 1) ...; read in place.
        #[must_use]
        pub fn weight(mut self, weight: impl Into<crate::Weight>) -> Self {
            self.items.weight = crate::losses::weight::WeightOption::Host(weight.into());
            self
        }

        /// Weights of this shape come from [`Buffers::weight`](crate::Buffers::weight) at every record.
        #[must_use]
        pub fn weight_from_buffer(mut self, shape: &[usize]) -> Self {
            self.items.weight = crate::losses::weight::WeightOption::Buffer(shape.to_vec());
            self
        }
    };
    (@pos_weight) => {
        /// Weights of the positive part that broadcast to the input's shape: (C) weighs each label, a number all of
        /// them.
        #[must_use]
        pub fn pos_weight(mut self, pos_weight: impl Into<crate::Weight>) -> Self {
            self.items.pos_weight = crate::losses::weight::WeightOption::Host(pos_weight.into());
            self
        }

        /// Weights of the positive part, of this shape, come from [`Buffers::pos_weight`](crate::Buffers::pos_weight)
        /// at every record.
        #[must_use]
        pub fn pos_weight_from_buffer(mut self, shape: &[usize]) -> Self {
            self.items.pos_weight = crate::losses::weight::WeightOption::Buffer(shape.to_vec());
            self
        }
    };
}
pub(super) use item_loss;

/// `Params` in the WGSL files of the losses that have a margin and nothing else.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct MarginParams {
    pub(super) margin: f32,
    spare: [u32; 3],
}

impl MarginParams {
    pub(super) fn new(margin: f32) -> Self {
        Self { margin, spare: [0; 3] }
    }
}

/// An element-wise loss of scores with targets ±1 and a margin: all of it but its documentation and the `impl
/// ItemReference`. `variant` is a second margin worth testing.
macro_rules! margin_loss {
    (
        $(#[$doc:meta])*
        $loss:ident {
            name: $name:literal,
            pytorch: $pytorch:literal,
            formula: $formula:literal,
            wgsl: $wgsl:literal,
            margin: $margin:literal,
            variant: $variant:literal,
            supports: $supports:expr $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $loss {
            items: crate::losses::item_loss::ItemOptions,
            margin: f32,
        }

        type Params = crate::losses::item_loss::MarginParams;

        impl $loss {
            #[doc = concat!("Margin ", $margin, ", mean reduction.")]
            #[must_use]
            pub fn new() -> Self {
                Self { items: crate::losses::item_loss::ItemOptions::new(), margin: $margin }
            }

            crate::losses::margin_builder!($margin);

            fn pieces(&self) -> Result<(Params, crate::wgsl::Flags), crate::Error> {
                let margin = crate::losses::options::finite("margin", self.margin)?;
                Ok((Params::new(margin), crate::wgsl::Flags::NONE))
            }
        }

        fn variants(_: usize) -> Vec<$loss> {
            vec![$loss::new(), $loss::new().margin($variant)]
        }

        crate::losses::item_loss::item_loss! {
            $loss {
                name: $name,
                pytorch: $pytorch,
                formula: $formula,
                wgsl: $wgsl,
                params: [margin],
                options: [margin],
                shared: [],
                supports: $supports,
                examples: |_loss, shape, seed| {
                    use crate::losses::item_loss::{example_inputs, sign};
                    let mut tensors = example_inputs(shape, seed, sign);
                    tensors.input2 = $supports.input2.then(|| example_inputs(shape, seed ^ 1, sign).input);
                    tensors
                },
            }
        }
    };
}
pub(super) use margin_loss;
