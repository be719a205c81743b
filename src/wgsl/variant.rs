//! The values that tell one kernel from another. A [`Kernel`] is a small key: `parts.rs` maps it to files, and the pipeline cache
//! to a pipeline.

use super::bindings::{Binding, bindings};
use super::standalone::standalone;
use super::{Access, Flags, Part, link};
use crate::adapter::Proven;
use crate::problem::Dtype;

/// A GPU kernel before compilation: which template, with which alternatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// A loss over rows of classes.
    Rows(RowVariant),
    /// Counts the labels of lists, before the kernel of the loss.
    CountLabels(CountLabelsVariant),
    /// Copies the logits, before a kernel that overwrites them.
    CopyInput,
    /// An element-wise loss.
    Items(ItemVariant),
    /// A sum over all items.
    Reduce(ReduceVariant),
    /// The gradient of a broadcast tensor, summed to its own shape.
    SumToShape(SumToShapeVariant),
}

/// Neighbouring elements that are read or written at once. More than one must be aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Width {
    /// One element, at any place.
    One,
    /// Two: a word of 16-bit elements, at any place.
    Two,
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

/// How elements are stored, and how they are converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stored {
    /// As f32.
    F32,
    /// As f16.
    F16 {
        /// The device's own conversion is proven; else it is done by integers.
        proven: bool,
    },
    /// As bf16.
    Bf16,
}

impl Stored {
    /// Elements of this type, where the device's conversion of f16 is proven or not.
    pub(crate) fn new(dtype: Dtype, proven: bool) -> Self {
        match dtype {
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16 { proven },
            Dtype::Bf16 => Self::Bf16,
        }
    }
}

/// How exponentials are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exp {
    /// By nothing that WGSL does not promise.
    Careful,
    /// By the device's exp2 and fma, which are proven.
    Proven,
}

/// The lanes that share a row, or a chunk of items, and how they reduce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// Every invocation by itself; this many in a workgroup.
    Single {
        /// Invocations of a workgroup.
        workgroup: u32,
    },
    /// Some lanes, by shuffles within subgroups; several groups to a workgroup, or one that is the whole workgroup.
    Shuffles {
        /// Lanes of a group.
        lanes: u32,
        /// Invocations of the workgroup.
        workgroup: u32,
        /// Neighbouring lanes that shuffle.
        shuffled: u32,
    },
    /// The same through workgroup memory.
    Memory {
        /// Lanes of a group.
        lanes: u32,
        /// Invocations of the workgroup.
        workgroup: u32,
    },
}

impl Group {
    /// Lanes of a group.
    #[must_use]
    pub fn lanes(self) -> u32 {
        match self {
            Self::Single { .. } => 1,
            Self::Shuffles { lanes, .. } | Self::Memory { lanes, .. } => lanes,
        }
    }

    /// Invocations of a workgroup.
    #[must_use]
    pub fn workgroup(self) -> u32 {
        match self {
            Self::Single { workgroup } | Self::Shuffles { workgroup, .. } | Self::Memory { workgroup, .. } => workgroup,
        }
    }
}

/// How a kernel goes through its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Driver {
    /// One group per row.
    Whole {
        /// What of the row is held in registers.
        held: Held,
    },
    /// One invocation per tile of rows, which it keeps in registers.
    Tile {
        /// Rows of a tile.
        rows: u32,
        /// Classes of a row.
        classes: u32,
    },
    /// One invocation per row, which stands in workgroup memory.
    Staged {
        /// Classes of a row.
        classes: u32,
    },
    /// Several groups per row.
    Split {
        /// Which of the dispatches that a split row takes.
        step: SplitStep,
    },
}

/// What a lane holds of a row in registers, from its beginning on; the rest is read wherever it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Held {
    /// Pairs of fours.
    pub pairs: u32,
    /// The row goes on after them.
    pub goes_on: bool,
}

impl Held {
    /// Nothing: every row is read wherever it is needed.
    pub const NOTHING: Self = Self { pairs: 0, goes_on: true };
    /// Pairs of a lane that registers hold: the variables of rows/held/eight.wgsl.
    pub const MOST: u32 = 8;
}

impl Driver {
    /// What is held of a row, where it is not split.
    #[must_use]
    pub fn held(self) -> Option<Held> {
        match self {
            Self::Whole { held } => Some(held),
            Self::Tile { classes, .. } | Self::Staged { classes } => {
                Some(Held { pairs: classes.div_ceil(8), goes_on: false })
            }
            Self::Split { .. } => None,
        }
    }
}

/// The dispatches that a split row takes, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SplitStep {
    /// Sums every part.
    Parts,
    /// Sums every part once more, for losses with a second pass.
    SecondParts,
    /// Joins the sums and keeps the results, before a gradient that overwrites the logits.
    Results,
    /// Writes the gradient, and the results unless they are kept.
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

/// What a row kernel reads as class weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClassWeight {
    /// A weight per class.
    OfClasses(Width),
    /// A weight per class of each row.
    OfRows,
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
    /// Whether the loss looks at all classes before it sums.
    pub peak: bool,
    /// Whether the loss has a second pass.
    pub second_pass: bool,
    /// Rows are taken to hold anything, else first to be ordinary.
    pub careful: bool,
    /// Which exponential.
    pub exp: Exp,
    /// Whether its targets are lists of labels.
    pub lists: bool,
    /// How it goes through the rows.
    pub driver: Driver,
    /// The lanes of a row.
    pub group: Group,
    /// Logits that are read and written at once.
    pub width: Width,
    /// How the logits are stored.
    pub input: Stored,
    /// How their gradient is stored, where it is wanted.
    pub grad_input: Option<Stored>,
    /// It overwrites them.
    pub in_place: bool,
    /// The target.
    pub target: TargetAccess,
    /// Its gradient, where it is wanted.
    pub grad_target: Option<Width>,
    /// Class weights, if there are any.
    pub class_weight: Option<ClassWeight>,
    /// Rows have weights of their own.
    pub sample_weight: bool,
    /// Some rows are masked.
    pub mask: bool,
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
    pub input: Stored,
    /// How its gradient is stored, where it is wanted.
    pub grad_input: Option<Stored>,
    /// It overwrites the input.
    pub in_place: bool,
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
    /// Which exponential.
    pub exp: Exp,
    /// All items of every lane's blocks exist.
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
        /// Some rows are masked.
        mask: bool,
    },
    /// What each row counts, by its own weight.
    RowWeights {
        /// Some rows are masked.
        mask: bool,
    },
    /// The items, or rows, that a mask leaves.
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
    Input(Stored),
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
    /// Eights of a lane that are on their way from memory together: 1 or 8.
    pub in_flight: u32,
    /// How memory is fetched.
    pub words: Words,
}

/// A kernel that sums a gradient to the shape of its tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SumToShapeVariant {
    /// How the sums are stored.
    pub output: Stored,
    /// The lanes of a sum.
    pub group: Group,
    /// How memory is fetched.
    pub words: Words,
}

impl Kernel {
    /// The WGSL module, as its files declare its buffers.
    #[must_use]
    pub fn wgsl(&self) -> String {
        self.wgsl_with(Access::ReadOnly)
    }

    /// The WGSL module with this access to its buffers.
    #[must_use]
    pub fn wgsl_with(&self, access: Access) -> String {
        link(&self.parts(), access)
    }

    /// The module for launchers that set no constants: its [`bindings`](Self::bindings) are numbered by their order, the uniform comes
    /// last, and all storage is writable.
    #[must_use]
    pub fn standalone(&self) -> String {
        let slots: Vec<u32> = self.bindings().iter().map(|binding| binding.slot).collect();
        standalone(&self.wgsl_with(Access::Shared), self.entry(), &self.constants(), &slots)
    }

    /// What the module binds besides its uniform, by ascending slot.
    #[must_use]
    pub fn bindings(&self) -> Vec<Binding> {
        bindings(&self.parts())
    }

    /// What it relies on beyond WGSL's promises.
    #[must_use]
    pub fn relies_on(&self) -> Proven {
        let (exp, group, read, written) = match *self {
            Self::Rows(rows) => (rows.exp, Some(rows.group), Some(rows.input), rows.grad_input),
            Self::Items(items) => (items.exp, Some(items.group), Some(items.input), items.grad_input),
            Self::Reduce(ReduceVariant { group, reported, .. }) => {
                let input = if let Reported::Input(input) = reported { Some(input) } else { None };
                (Exp::Careful, Some(group), input, None)
            }
            Self::SumToShape(sum) => (Exp::Careful, Some(sum.group), None, Some(sum.output)),
            Self::CountLabels(_) | Self::CopyInput => (Exp::Careful, None, None, None),
        };
        let is_proven = |stored: Option<Stored>| stored == Some(Stored::F16 { proven: true });
        Proven {
            exp2: exp == Exp::Proven,
            fma: exp == Exp::Proven,
            unpack_f16: is_proven(read),
            pack_f16: is_proven(written),
            subgroup_lanes: if let Some(Group::Shuffles { lanes, shuffled, .. }) = group {
                lanes.min(shuffled)
            } else {
                0
            },
            ..Proven::default()
        }
    }

    /// The entry point.
    #[must_use]
    pub fn entry(&self) -> &'static str {
        match self {
            Self::Rows(rows) => match rows.driver {
                Driver::Split { step: SplitStep::Parts } => "parts",
                Driver::Split { step: SplitStep::SecondParts } => "second_parts",
                Driver::Split { step: SplitStep::Results } => "results",
                Driver::Split { step: SplitStep::Rows }
                | Driver::Whole { .. }
                | Driver::Tile { .. }
                | Driver::Staged { .. } => "rows",
            },
            Self::CountLabels(_) => "count_labels",
            Self::CopyInput => "copy_input",
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
            Self::CopyInput => "input",
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
                    Driver::Staged { classes } => constants.push(("CLASSES", classes)),
                    Driver::Whole { .. } | Driver::Split { .. } => {}
                }
                if let Some(held) = rows.driver.held().filter(|held| held.pairs > 0) {
                    constants.extend([("HELD", held.pairs), ("GOES_ON", u32::from(held.goes_on))]);
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
            Self::CountLabels(_) | Self::CopyInput => {}
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
                constants.extend([("COUNTED", u32::from(counted)), ("IN_FLIGHT", reduce.in_flight)]);
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
                    | Source::RowWeights { .. }
                    | Source::Mask { .. } => {}
                }
            }
            Self::SumToShape(sum) => constants.extend(group_constants(sum.group)),
        }
        constants
    }
}

fn group_constants(group: Group) -> Vec<(&'static str, u32)> {
    let mut constants = vec![("LANES", group.lanes()), ("WORKGROUP", group.workgroup())];
    if let Group::Shuffles { shuffled, .. } = group {
        constants.push(("SHUFFLED", shuffled));
    }
    constants
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
            Self::RowWeights { .. } => "row_weights",
            Self::Mask { .. } => "mask",
        }
    }
}
