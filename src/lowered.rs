//! What a loss is made of once a problem is known: the contract between the losses on one side, the plan and the CPU reference on
//! the other. A loss is lowered onto one of two kernel templates, rows of classes or independent elements.

use std::sync::Arc;

use crate::broadcast::Broadcast;
use crate::problem::{Reduction, RowShape};
use crate::wgsl::{Flags, Part};

/// One loss lowered onto a kernel template: everything that a plan and the CPU reference need besides the data.
#[derive(Debug, Clone, PartialEq)]
pub struct Lowered {
    /// The loss' WGSL file.
    pub source: Part,
    /// Its boolean `override` constants.
    pub flags: Flags,
    /// Bytes of its `Params`.
    pub params: Vec<u8>,
    /// The template, and what only it needs.
    pub layout: Layout,
    /// Class or item weights.
    pub weight: WeightSource,
    /// What is checked on the GPU.
    pub checked: Option<Checked>,
    /// How items are combined.
    pub reduction: Reduction,
    /// What the sum is divided by.
    pub denominator: Denominator,
    /// Bits of the mean of an empty batch: NaN is to be equal to itself.
    pub empty: u32,
    /// Shape of what there is one of per row (or item).
    pub item_shape: Vec<usize>,
    /// Shape that the target must have.
    pub target_shape: Vec<usize>,
    /// Shape of the loss.
    pub loss_shape: Vec<usize>,
}

/// The kernel template that a loss is lowered onto.
#[derive(Debug, Clone, PartialEq)]
pub enum Layout {
    /// Rows of classes: rows/template.wgsl.
    Rows(RowLayout),
    /// Elements: items/template.wgsl.
    Items(Box<ItemLayout>),
}

/// What only losses over rows need.
#[derive(Debug, Clone, PartialEq)]
pub struct RowLayout {
    /// N, C, D.
    pub shape: RowShape,
    /// What a row's target is.
    pub target: RowTargets,
    /// In a counted mean, rows count with the weight of their class, else with 1.
    pub weighs_mean: bool,
    /// The loss needs one class of a row and no sum over them.
    pub one_class: bool,
    /// The loss looks at all classes before it sums.
    pub peak: bool,
    /// The loss needs a second pass over the classes.
    pub second_pass: bool,
    /// Rows have weights of their own.
    pub sample_weight: bool,
    /// Some rows are masked.
    pub mask: bool,
    /// Class weights differ from row to row: they have the logits' shape.
    pub row_weights: bool,
}

/// What the target of a row is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowTargets {
    /// A class index.
    Indices {
        /// Ignored values, as the GPU sees them; at most four.
        ignore: Vec<i32>,
    },
    /// A list of class indices, ended by the first -1.
    Lists,
    /// One value per class.
    Values,
}

/// What only element-wise losses need.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemLayout {
    /// Shapes and strides.
    pub broadcast: Broadcast,
    /// Weights of the positive part.
    pub pos_weight: WeightSource,
    /// Some items are masked; then the mask is the second tensor of `broadcast`.
    pub mask: bool,
}

/// Where weights come from.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum WeightSource {
    /// Everything weighs 1.
    #[default]
    None,
    /// Values on the host, uploaded once when a call is prepared.
    Host(Arc<[f32]>),
    /// A buffer of the caller's, given at every record.
    Buffer,
}

/// What the sum of the losses is divided by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Denominator {
    /// Known beforehand.
    Fixed(f64),
    /// The sum of what the items that are not ignored count, counted on the GPU.
    Counted,
}

/// Which tensor can hold values that make an item invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// Class indices.
    Labels,
    /// Lists of class indices.
    LabelLists,
    /// The input.
    Input,
    /// The input, which its gradient has overwritten by the time it is reported.
    Overwritten,
}

impl Lowered {
    /// Number of items: rows, or elements of the broadcast shape.
    #[must_use]
    pub fn items(&self) -> usize {
        match &self.layout {
            Layout::Rows(rows) => rows.shape.rows(),
            Layout::Items(items) => items.broadcast.items(),
        }
    }

    /// Elements of the target.
    pub(crate) fn target_len(&self) -> usize {
        self.target_shape.iter().product()
    }

    /// Whether the items' losses are combined into one.
    #[must_use]
    pub fn is_reduced(&self) -> bool {
        self.reduction != Reduction::None
    }

    /// Weights of the positive part.
    #[must_use]
    pub fn pos_weight(&self) -> &WeightSource {
        match &self.layout {
            Layout::Rows(_) => &WeightSource::None,
            Layout::Items(items) => &items.pos_weight,
        }
    }
}

impl RowLayout {
    /// The targets are class indices.
    #[must_use]
    pub fn has_indices(&self) -> bool {
        matches!(self.target, RowTargets::Indices { .. })
    }

    /// The targets are lists of class indices.
    #[must_use]
    pub fn has_lists(&self) -> bool {
        self.target == RowTargets::Lists
    }
}

impl WeightSource {
    /// Whether there are weights.
    #[must_use]
    pub fn is_given(&self) -> bool {
        *self != Self::None
    }
}

/// Class indices that can be ignored at once: the places in `DispatchParams.ignore` in lib/params.wgsl.
pub(crate) const MAX_IGNORED: usize = 4;

/// What stands for an ignored label on the GPU, where labels are 32 bits wide.
pub(crate) fn ignore_code(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(i32::MIN)
}
