//! The values that tell one kernel from another. A [`Kernel`] is a small key: `parts.rs` maps it to files, and the pipeline cache
//! to a pipeline.

use super::bindings::{Binding, bindings};
use super::{Flags, Part, link};
use crate::problem::Dtype;

/// A GPU kernel before compilation: which template, with which alternatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// A loss over rows of classes.
    Rows(RowVariant),
    /// Counts the labels of lists, before the kernel of the loss.
    CountLabels(CountLabelsVariant),
    /// An element-wise loss.
    Items(ItemVariant),
    /// A sum over all items.
    Reduce(ReduceVariant),
    /// The gradient of a broadcast tensor, summed to its own shape.
    SumToShape(SumToShapeVariant),
}

/// Neighbouring elements that are read or written at once. More than one must be aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// One element, at any place.
    One,
    /// Four.
    Four,
    /// Eight: 16 bytes of 16-bit elements, or the 32 that 64-bit words fetch at once.
    Eight,
}

/// The words by which tensors are fetched from memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Words {
    /// 32 bits, in vectors.
    W32,
    /// 64 bits, for adapters that fetch the components of a vector one by one.
    W64,
}

/// The lanes that share a row, or a chunk of items, and how they reduce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// Every invocation by itself; this many in a workgroup.
    Single {
        /// Invocations of a workgroup.
        workgroup: u32,
    },
    /// One subgroup, which is its whole workgroup.
    Subgroup {
        /// Size of the subgroup.
        lanes: u32,
    },
    /// One workgroup, through workgroup memory.
    Workgroup {
        /// Invocations of the workgroup.
        lanes: u32,
    },
}

impl Group {
    /// Lanes of a group.
    #[must_use]
    pub fn lanes(self) -> u32 {
        match self {
            Self::Single { .. } => 1,
            Self::Subgroup { lanes } | Self::Workgroup { lanes } => lanes,
        }
    }

    /// Invocations of a workgroup.
    #[must_use]
    pub fn workgroup(self) -> u32 {
        match self {
            Self::Single { workgroup } => workgroup,
            Self::Subgroup { lanes } | Self::Workgroup { lanes } => lanes,
        }
    }
}

/// How a kernel goes through its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Driver {
    /// One group per row.
    Whole {
        /// Fours of a row that are kept in workgroup memory for the gradient; `None`: the row is read again.
        kept: Option<u32>,
    },
    /// One invocation per tile of rows, which it keeps in registers.
    Tile {
        /// Rows of a tile.
        rows: u32,
        /// Classes of a row.
        classes: u32,
    },
    /// Several groups per row.
    Split {
        /// Which of the dispatches that a split row takes.
        step: SplitStep,
    },
}

/// The dispatches that a split row takes, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SplitStep {
    /// Sums every part.
    Parts,
    /// Sums every part once more, for losses with a second pass.
    SecondParts,
    /// Joins the sums and writes the results.
    Rows,
}

/// What a row kernel reads as its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TargetAccess {
    /// A class index per row.
    ClassIndex,
    /// A value per class.
    Values(Width),
}

/// Who sums over the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Batch {
    /// Other dispatches; the denominator is known beforehand.
    Fixed,
    /// Other dispatches, one of which has counted the denominator.
    Counted,
    /// This one: a single workgroup has all rows.
    Within {
        /// The denominator is counted.
        counted: bool,
        /// The losses are combined into one, which is wanted.
        sums_loss: bool,
        /// Class weights count in the denominator.
        weighs_mean: bool,
    },
}

/// A kernel of a loss over rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowVariant {
    /// The loss' file.
    pub loss: Part,
    /// The loss' own constants.
    pub flags: Flags,
    /// Whether the loss has a second pass.
    pub second_pass: bool,
    /// Whether its targets are lists of labels.
    pub lists: bool,
    /// How it goes through the rows.
    pub driver: Driver,
    /// The lanes of a row.
    pub group: Group,
    /// Logits that are read and written at once.
    pub width: Width,
    /// How the logits are stored.
    pub input: Dtype,
    /// How their gradient is stored, where it is wanted.
    pub grad_input: Option<Dtype>,
    /// The target.
    pub target: TargetAccess,
    /// Its gradient, where it is wanted.
    pub grad_target: Option<Width>,
    /// Class weights, if there are any.
    pub class_weight: Option<Width>,
    /// Rows have weights of their own.
    pub sample_weight: bool,
    /// Statistics of the rows are wanted.
    pub stats: bool,
    /// There is an upstream gradient.
    pub grad_output: bool,
    /// The losses are combined into one.
    pub reduced: bool,
    /// Some class indices are ignored.
    pub ignores: bool,
    /// Who sums over the rows.
    pub batch: Batch,
    /// How memory is fetched.
    pub words: Words,
}

/// A kernel that counts the labels of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CountLabelsVariant {
    /// Labels that are read at once.
    pub width: Width,
    /// How memory is fetched.
    pub words: Words,
}

/// What an element-wise kernel does with the items' losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ItemLosses {
    /// Sums them.
    Summed {
        /// The denominator is counted by an earlier dispatch.
        counted: bool,
    },
    /// Stores each.
    Each,
}

/// A second tensor of an element-wise loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Second {
    /// A second input, of the items' shape.
    Dense,
    /// A second input that broadcasts, or is read one element at a time.
    Broadcast,
}

/// A kernel of an element-wise loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ItemVariant {
    /// The loss' file.
    pub loss: Part,
    /// The loss' own constants.
    pub flags: Flags,
    /// The lanes of a chunk.
    pub group: Group,
    /// Elements that are read and written at once; one where some tensor broadcasts.
    pub width: Width,
    /// How the input is stored.
    pub input: Dtype,
    /// How its gradient is stored, where it is wanted.
    pub grad_input: Option<Dtype>,
    /// The gradient of the second input or of the target is wanted.
    pub grad_second: bool,
    /// The second input or the mask.
    pub second: Option<Second>,
    /// It is a mask.
    pub masked: bool,
    /// Items have weights.
    pub weight: bool,
    /// The positive part has weights.
    pub pos_weight: bool,
    /// There is an upstream gradient.
    pub grad_output: bool,
    /// What becomes of the losses.
    pub losses: ItemLosses,
    /// All items of every lane and step exist.
    pub whole: bool,
    /// Dimensions of the broadcast shape, neighbours merged.
    pub rank: u32,
    /// How memory is fetched.
    pub words: Words,
}

/// What a reduction sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// No items: the batch is empty.
    Empty,
    /// The items' losses in a buffer of our own.
    Losses,
    /// The items' losses in the caller's buffer.
    CallerLosses,
    /// The partial sums of an earlier dispatch.
    PartialSums,
    /// What each row counts, by its class index.
    Labels {
        /// Labels that are read at once: one or eight.
        width: Width,
        /// Some class indices are ignored.
        ignores: bool,
        /// Class weights count.
        weighs_mean: bool,
        /// Rows have weights of their own.
        sample_weight: bool,
    },
    /// What each row counts, by its own weight.
    RowWeights,
    /// The items that a mask leaves.
    Mask {
        /// Elements of the mask that are read at once: one or eight.
        width: Width,
    },
}

/// What becomes of the total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// It is the denominator of the mean.
    Denominator,
    /// It gives the reduced loss and the status.
    Loss {
        /// The denominator has been counted by an earlier dispatch.
        counted: bool,
    },
    /// It gives the status alone.
    Status,
}

/// Which tensor holds the value of an invalid item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reported {
    /// No tensor.
    Nothing,
    /// The target, which holds class indices.
    Target,
    /// The input.
    Input(Dtype),
}

/// A kernel that sums over all items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReduceVariant {
    /// What it sums.
    pub source: Source,
    /// What becomes of the total.
    pub purpose: Purpose,
    /// The value of an invalid item.
    pub reported: Reported,
    /// The lanes of a chunk.
    pub group: Group,
    /// How memory is fetched.
    pub words: Words,
}

/// A kernel that sums a gradient to the shape of its tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SumToShapeVariant {
    /// How the sums are stored.
    pub output: Dtype,
    /// The lanes of a sum.
    pub group: Group,
    /// How memory is fetched.
    pub words: Words,
}

impl Kernel {
    /// The WGSL module.
    #[must_use]
    pub fn wgsl(&self) -> String {
        link(&self.parts())
    }

    /// What the module binds besides its uniform, by ascending slot.
    #[must_use]
    pub fn bindings(&self) -> Vec<Binding> {
        bindings(&self.parts())
    }

    /// The entry point.
    #[must_use]
    pub fn entry(&self) -> &'static str {
        match self {
            Self::Rows(rows) => match rows.driver {
                Driver::Split { step: SplitStep::Parts } => "parts",
                Driver::Split { step: SplitStep::SecondParts } => "second_parts",
                Driver::Split { step: SplitStep::Rows } | Driver::Whole { .. } | Driver::Tile { .. } => "rows",
            },
            Self::CountLabels(_) => "count_labels",
            Self::Items(_) => "items",
            Self::Reduce(_) => "reduce",
            Self::SumToShape(_) => "sum_to_shape",
        }
    }

    /// `deeploss.<loss>.<entry>`, the label of the wgpu objects; for what is no loss' own, what it works on in place of the loss.
    #[must_use]
    pub fn label(&self) -> String {
        let of = match self {
            Self::Rows(RowVariant { loss, .. }) | Self::Items(ItemVariant { loss, .. }) => loss.stem(),
            Self::CountLabels(_) => "labels",
            Self::Reduce(reduce) => reduce.source.name(),
            Self::SumToShape(_) => "gradient",
        };
        format!("deeploss.{of}.{}", self.entry())
    }

    /// Values of the `override` constants of the module.
    #[must_use]
    pub fn constants(&self) -> Vec<(&'static str, u32)> {
        let mut constants = Vec::new();
        match self {
            Self::Rows(rows) => {
                constants.extend(group_constants(rows.group));
                constants.extend(rows.flags.iter().map(|(name, on)| (name, u32::from(on))));
                constants.push(("HAS_IGNORE", u32::from(rows.ignores)));
                if rows.grad_output {
                    constants.push(("REDUCED", u32::from(rows.reduced)));
                }
                match rows.driver {
                    Driver::Tile { rows, classes } => constants.extend([("TILE", rows), ("CLASSES", classes)]),
                    Driver::Whole { kept: Some(fours) } => constants.push(("KEPT", fours)),
                    Driver::Whole { kept: None } | Driver::Split { .. } => {}
                }
                if let Batch::Within { counted, weighs_mean, .. } = rows.batch {
                    let indices = rows.target == TargetAccess::ClassIndex;
                    constants.extend([
                        ("COUNTED", u32::from(counted)),
                        ("WEIGHS_MEAN", u32::from(weighs_mean)),
                        ("HAS_LABELS", u32::from(indices)),
                        ("REPORTS", u32::from(indices)),
                    ]);
                }
            }
            Self::CountLabels(_) => {}
            Self::Items(items) => {
                constants.extend(group_constants(items.group));
                constants.extend(items.flags.iter().map(|(name, on)| (name, u32::from(on))));
                constants.extend([
                    ("HAS_MASK", u32::from(items.masked)),
                    ("WHOLE", u32::from(items.whole)),
                    ("RANK", items.rank),
                    ("REDUCED", u32::from(items.losses != ItemLosses::Each)),
                ]);
                if let ItemLosses::Summed { counted } = items.losses {
                    constants.push(("COUNTED", u32::from(counted)));
                }
            }
            Self::Reduce(reduce) => {
                constants.extend(group_constants(reduce.group));
                let counted = reduce.purpose == Purpose::Loss { counted: true };
                constants.push(("COUNTED", u32::from(counted)));
                match reduce.source {
                    Source::Labels { ignores, weighs_mean, .. } => constants.extend([
                        ("HAS_IGNORE", u32::from(ignores)),
                        ("WEIGHS_MEAN", u32::from(weighs_mean)),
                        ("HAS_LABELS", 1),
                    ]),
                    Source::Empty
                    | Source::Losses
                    | Source::CallerLosses
                    | Source::PartialSums
                    | Source::RowWeights
                    | Source::Mask { .. } => {}
                }
            }
            Self::SumToShape(sum) => constants.extend(group_constants(sum.group)),
        }
        constants
    }
}

fn group_constants(group: Group) -> [(&'static str, u32); 2] {
    [("LANES", group.lanes()), ("WORKGROUP", group.workgroup())]
}

impl Source {
    /// The stem of its file below reduce/source/.
    fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Losses => "losses",
            Self::CallerLosses => "caller_losses",
            Self::PartialSums => "partial_sums",
            Self::Labels { .. } => "labels",
            Self::RowWeights => "row_weights",
            Self::Mask { .. } => "mask",
        }
    }
}
