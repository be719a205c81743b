//! What will run: dispatches, parameter bytes, buffer sizes. Pure data, made without a GPU.

use std::fmt;

use bytemuck::{Pod, Zeroable};

use crate::context::AdapterFacts;
use crate::error::Error;
use crate::kernel::{Broadcast, Checked, Denominator, Kernel, Layout, Operand, WeightSource};
use crate::link::{Part, part};
use crate::pipeline::Program;
use crate::problem::{Dtype, Problem, Reduction, RowShape, Want};
use crate::strategy::{Demand, RowStrategy};

/// The tensors of a call, by the names that errors use, and the buffers a prepared call owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Tensor {
    Input,
    Input2,
    Target,
    Weight,
    PosWeight,
    IgnoreMask,
    SampleWeight,
    GradOutput,
    Loss,
    GradInput,
    GradInput2,
    GradTarget,
    Stats,
    /// Scratch: the gradient of a broadcast input, before it is summed up.
    WideGradInput,
    /// Scratch: partial sums of such a gradient.
    PartialInput,
    /// Scratch: partial sums of the other.
    PartialSecond,
    /// Scratch: how often each class is listed.
    Marks,
    /// Scratch: what each part of a split row comes to.
    Partials,
    /// Scratch: the gradient of a broadcast second input or target.
    WideGradSecond,
    /// Scratch: the loss of each item.
    Items,
    /// Scratch: denominator, status, partial sums.
    Work,
    /// A binding that this variant does not use.
    Nothing,
}

impl Tensor {
    /// Written by the kernels, into the caller's buffer.
    #[must_use]
    pub fn is_output(self) -> bool {
        matches!(self, Self::Loss | Self::GradInput | Self::GradInput2 | Self::GradTarget | Self::Stats)
    }

    /// The name of the field in [`Buffers`](crate::Buffers).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Input2 => "input2",
            Self::Target => "target",
            Self::Weight => "weight",
            Self::PosWeight => "pos_weight",
            Self::IgnoreMask => "ignore_mask",
            Self::SampleWeight => "sample_weight",
            Self::Stats => "stats",
            Self::GradOutput => "grad_output",
            Self::Loss => "loss",
            Self::GradInput => "grad_input",
            Self::GradInput2 => "grad_input2",
            Self::Marks => "marks",
            Self::Partials => "partials",
            Self::PartialInput => "partial_input",
            Self::PartialSecond => "partial_second",
            Self::WideGradInput => "wide_grad_input",
            Self::WideGradSecond => "wide_grad_second",
            Self::GradTarget => "grad_target",
            Self::Items => "items",
            Self::Work => "work",
            Self::Nothing => "nothing",
        }
    }
}

/// A byte range of a tensor at a binding of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind {
    /// Binding number.
    pub slot: u32,
    /// The tensor.
    pub tensor: Tensor,
    /// Whether the kernel writes it.
    pub written: bool,
    /// First byte within the tensor.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes of one element of the array that the kernel declares.
    pub element: u64,
}

/// One dispatch.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispatch {
    /// The kernel.
    pub program: Program,
    /// Bytes of its uniform buffer.
    pub uniforms: Vec<u8>,
    /// Workgroups.
    pub grid: [u32; 2],
    /// Storage bindings.
    pub binds: Vec<Bind>,
}

/// The dispatches of one call, in order, and the scratch they need.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// How rows (or, of element-wise losses, chunks of items) are shared out, and why.
    pub strategy: (RowStrategy, &'static str),
    /// The table's other lines for this shape that the adapter can run, the best guess first.
    pub others: Vec<(RowStrategy, &'static str)>,
    /// How the input and its gradient are stored.
    pub storage: [Dtype; 2],
    /// In order.
    pub dispatches: Vec<Dispatch>,
    /// Bytes of each caller tensor that takes part.
    pub sizes: Vec<(Tensor, u64)>,
    /// Bytes of each scratch tensor.
    pub scratch: Vec<(Tensor, u64)>,
    /// The tensor that the last dispatch checked: it leaves a status in `work`.
    pub checked: Option<Checked>,
}

/// Several lines for people: strategy and why, what else could run, storage, dispatches, scratch.
///
/// ```
/// use deeploss::{AdapterFacts, CrossEntropy, Loss, Plan, Problem};
///
/// let problem = Problem::rows(4096, 1000);
/// let kernel = CrossEntropy::new().kernel(&problem)?;
/// let plan = Plan::new(&kernel, &problem, &AdapterFacts::default(), None)?;
/// assert!(plan.to_string().starts_with("strategy   kept:64 (a workgroup per row, "));
/// # Ok::<(), deeploss::Error>(())
/// ```
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "strategy   {} ({})", self.strategy.0, self.strategy.1)?;
        for (strategy, why) in &self.others {
            writeln!(f, "not taken  {strategy} ({why})")?;
        }
        let [input, gradient] = self.storage;
        writeln!(f, "storage    input {input:?}, gradient {gradient:?}")?;
        for Dispatch { program, grid: [x, y], binds, .. } in &self.dispatches {
            let bytes: u64 = binds.iter().map(|bind| bind.size).sum();
            writeln!(f, "dispatch   {}, {x} x {y} workgroups, {bytes} bytes bound", program.label())?;
        }
        write!(f, "scratch    {} bytes", self.scratch.iter().map(|(_, size)| size).sum::<u64>())
    }
}

impl Plan {
    fn size_of(&self, tensor: Tensor) -> u64 {
        self.sizes.iter().chain(&self.scratch).find(|(t, _)| *t == tensor).map_or(0, |&(_, size)| size)
    }
}

/// The header of every uniform buffer: `Frame` in frame.wgsl.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct Frame {
    pub(crate) rows: u32,
    pub(crate) classes: u32,
    pub(crate) inner: u32,
    pub(crate) first_row: u32,
    pub(crate) grid_x: u32,
    pub(crate) chunk: u32,
    pub(crate) item_count: u32,
    pub(crate) denominator: f32,
    pub(crate) empty: u32,
    pub(crate) zero: u32,
    pub(crate) parts: u32,
    pub(crate) start: u32,
    pub(crate) ignore: [i32; 4],
}

/// Items that one workgroup of a reduction sums.
const REDUCE_CHUNK: usize = 8192;
/// More records than this would be too many for the one workgroup that combines them.
const MAX_RECORDS: usize = 16_384;
/// Workgroups that an element-wise kernel is cut into, if there are items enough.
const ITEM_WORKGROUPS: usize = 2048;
/// From here on it is worth a dispatch of its own to do a last chunk that is no whole number of quads.
const MIN_SPLIT_ITEMS: usize = 1 << 18;
/// Items that one group sums of a broadcast gradient.
const FOLD_CHUNK: usize = 65_536;
/// Loops over items count in 32 bits and may step past the last item.
const MAX_ITEMS: usize = 1 << 31;
/// Words before the records, and of one record, in `work`: RECORDS_AT and RECORD_WORDS in records.wgsl.
const WORK_HEADER_WORDS: usize = 8;
const RECORD_WORDS: usize = 8;
/// So few rows that counting them takes every invocation less time than another dispatch takes to start; no more than a workgroup has.
const SMALL_ROWS: usize = 64;
/// Storage bindings of a kernel that does all for them.
const SMALL_BUFFERS: usize = 8;
/// Bytes of eight losses, that is `Bytes32`.
const EIGHT_BYTES: u64 = 32;
/// Bytes of the largest `Acc` that a loss over rows has: tests compare.
const PARTIAL_BYTES: u64 = 96;
impl Plan {
    /// Plans one call for an adapter; with a forced strategy for tests and measurements.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if one sample does not fit a binding, or the forced strategy does not serve.
    pub fn new(
        kernel: &Kernel,
        problem: &Problem,
        facts: &AdapterFacts,
        forced: Option<RowStrategy>,
    ) -> Result<Self, Error> {
        Planner { kernel, problem, facts }.plan(forced.map(|strategy| (strategy, "forced by the caller")))
    }

    /// [`Plan::new`] with the strategy that a tuning names.
    pub(crate) fn tuned(
        kernel: &Kernel,
        problem: &Problem,
        facts: &AdapterFacts,
        strategy: RowStrategy,
    ) -> Result<Self, Error> {
        Planner { kernel, problem, facts }.plan(Some((strategy, "chosen by the tuning")))
    }
}

/// What a reduction sums.
#[derive(Debug, Clone, Copy)]
enum Summed {
    /// What the items count in the mean.
    Denominator,
    /// Their losses, in this tensor or in records.
    Losses(Tensor),
}

struct Planner<'a> {
    kernel: &'a Kernel,
    problem: &'a Problem,
    facts: &'a AdapterFacts,
}

impl Planner<'_> {
    fn wants(&self, want: Want) -> bool {
        self.problem.want.contains(want)
    }

    fn reduced(&self) -> bool {
        self.kernel.reduction != Reduction::None
    }

    fn plan(&self, given: Option<(RowStrategy, &'static str)>) -> Result<Plan, Error> {
        let items = self.kernel.items();
        if bytes_of(items) > self.facts.max_binding || items > MAX_ITEMS {
            return Err(self.too_large(format!("a batch of {items} items")));
        }
        let (strategy, mut others) = match &self.kernel.layout {
            Layout::Rows(shape) => {
                (self.row_strategy(*shape, given)?, RowStrategy::candidates(self.facts, self.demand(*shape)))
            }
            Layout::Items(_) => {
                ((RowStrategy::for_reduction(self.facts), "element-wise: consecutive chunks"), Vec::new())
            }
        };
        others.retain(|(other, _)| *other != strategy.0);
        let mut plan = Plan {
            strategy,
            others,
            storage: [self.problem.input_dtype, self.problem.grad_dtype],
            dispatches: Vec::new(),
            sizes: self.sizes(),
            scratch: Vec::new(),
            checked: self.kernel.checked,
        };
        let records = match &self.kernel.layout {
            Layout::Rows(_) => items.div_ceil(self.reduce_chunk()),
            Layout::Items(_) => items.div_ceil(self.item_chunk(strategy.0)).max(items.div_ceil(self.reduce_chunk())),
        };
        plan.scratch.push((Tensor::Work, bytes_of(WORK_HEADER_WORDS + records.max(1) * RECORD_WORDS)));
        let in_one = matches!(self.kernel.layout, Layout::Rows(shape) if self.is_small(shape, strategy.0));
        if self.kernel.denominator == Denominator::Counted && !in_one {
            self.push_reduction(&mut plan, Summed::Denominator);
        }
        match &self.kernel.layout {
            Layout::Rows(shape) => self.plan_rows(&mut plan, *shape)?,
            Layout::Items(shape) => self.plan_items(&mut plan, shape)?,
        }
        let mut binds = plan.dispatches.iter().flat_map(|dispatch| &dispatch.binds);
        match binds.find(|bind| bind.size > self.facts.max_binding) {
            Some(bind) => Err(self.too_large(format!("a binding of {} bytes for `{}`", bind.size, bind.tensor.name()))),
            None => Ok(plan),
        }
    }

    fn demand(&self, shape: RowShape) -> Demand {
        Demand { shape, lists: self.kernel.marks }
    }

    fn row_strategy(
        &self,
        shape: RowShape,
        given: Option<(RowStrategy, &'static str)>,
    ) -> Result<(RowStrategy, &'static str), Error> {
        let demand = self.demand(shape);
        let (strategy, reason) = given.unwrap_or_else(|| RowStrategy::choose(self.facts, demand));
        if strategy.runs(self.facts, demand) {
            return Ok((strategy, reason));
        }
        Err(Error::Unsupported {
            what: format!("{strategy:?} for rows of {} classes", shape.classes),
            why: "the adapter lacks what it needs, or one invocation would loop too often".into(),
            instead: "leave the choice to the plan, or split the classes",
        })
    }

    fn plan_rows(&self, plan: &mut Plan, shape: RowShape) -> Result<(), Error> {
        let in_loss = !self.reduced() && self.wants(Want::LOSS);
        if !in_loss {
            plan.scratch.push((Tensor::Items, bytes_of(shape.rows().next_multiple_of(8))));
        }
        let items = if in_loss { Tensor::Loss } else { Tensor::Items };
        if self.kernel.marks {
            plan.scratch.push((Tensor::Marks, bytes_of(shape.rows() * shape.classes)));
        }
        if let RowStrategy::Split { parts, .. } = plan.strategy.0 {
            let sums = if self.kernel.revisits { 2 } else { 1 };
            plan.scratch.push((Tensor::Partials, sums * PARTIAL_BYTES * parts as u64 * shape.rows() as u64));
        }
        self.push_rows(plan, shape, items)?;
        if self.sums_losses() && !self.is_small(shape, plan.strategy.0) {
            self.push_reduction(plan, Summed::Losses(items));
        }
        Ok(())
    }

    fn sums_losses(&self) -> bool {
        self.kernel.checked.is_some() || (self.reduced() && self.wants(Want::LOSS))
    }

    /// Whether one workgroup has all rows, and does what would be dispatches of their own: every invocation counts all rows, and one
    /// of them sums all losses. Not where that takes more bindings than the device has.
    fn is_small(&self, shape: RowShape, strategy: RowStrategy) -> bool {
        let whole = match strategy {
            RowStrategy::Thread => true,
            RowStrategy::Tile { rows } => shape.rows().is_multiple_of(rows as usize),
            _ => false,
        };
        let more = [self.wants(Want::GRAD_TARGET), self.wants(Want::STATS), self.kernel.sample_weight];
        let buffers = SMALL_BUFFERS + more.into_iter().filter(|&bound| bound).count();
        (1..=SMALL_ROWS).contains(&shape.rows())
            && whole
            && !self.kernel.marks
            && self.outer_per_band(shape).is_some_and(|outer| outer >= shape.outer)
            && buffers <= self.facts.max_storage_buffers as usize
            && (self.sums_losses() || self.kernel.denominator == Denominator::Counted)
    }

    fn plan_items(&self, plan: &mut Plan, shape: &Broadcast) -> Result<(), Error> {
        let in_loss = !self.reduced();
        if in_loss && !self.wants(Want::LOSS) {
            plan.scratch.push((Tensor::Items, bytes_of(shape.items().next_multiple_of(8))));
        }
        let items = if self.wants(Want::LOSS) { Tensor::Loss } else { Tensor::Items };
        let out = if in_loss { items } else { Tensor::Work };
        self.push_items(plan, shape, out)?;
        if self.reduced() {
            let records = shape.items().div_ceil(self.item_chunk(plan.strategy.0));
            self.push_records(plan, records, Summed::Losses(Tensor::Nothing));
        } else if self.kernel.checked.is_some() {
            self.push_reduction(plan, Summed::Losses(items));
        }
        Ok(())
    }

    fn too_large(&self, what: String) -> Error {
        Error::Unsupported {
            what,
            why: format!("the adapter binds at most {} bytes, and bounds loops", self.facts.max_binding),
            instead: "split the call into several",
        }
    }

    fn check_storage(&self, binds: &[Bind]) -> Result<(), Error> {
        if binds.len() <= self.facts.max_storage_buffers as usize {
            return Ok(());
        }
        Err(Error::Unsupported {
            what: format!("a call with {} tensors", binds.len()),
            why: format!("the device binds {} storage buffers in a stage", self.facts.max_storage_buffers),
            instead: "request a device with a higher limit, or leave out the mask, sample weights or statistics",
        })
    }

    fn sample_weight_part(&self) -> Part {
        if self.kernel.sample_weight {
            part!("common/sample_weight_bound.wgsl")
        } else {
            part!("common/sample_weight_none.wgsl")
        }
    }

    fn words_part(&self) -> Part {
        if self.facts.wide_words() { part!("common/words_64.wgsl") } else { part!("common/words_32.wgsl") }
    }

    fn reduce_chunk(&self) -> usize {
        REDUCE_CHUNK.max(self.kernel.items().div_ceil(MAX_RECORDS)).next_multiple_of(8)
    }

    /// Items per workgroup of an element-wise kernel: enough workgroups to fill a device, whole steps of every lane.
    fn item_chunk(&self, strategy: RowStrategy) -> usize {
        let step = 16 * strategy.lanes() as usize;
        self.kernel.items().div_ceil(ITEM_WORKGROUPS).next_multiple_of(step).max(step)
    }

    fn sizes(&self) -> Vec<(Tensor, u64)> {
        let of_loss = if self.reduced() { 1 } else { self.kernel.items() };
        let input = self.problem.shape.iter().product();
        let (weight, pos_weight, second) = match &self.kernel.layout {
            Layout::Rows(shape) => (shape.classes, 0, 0),
            Layout::Items(items) => {
                let len = |operand: &Option<Operand>| operand.as_ref().map_or(0, Operand::len);
                (len(&items.weight), len(&items.pos_weight), len(&items.second))
            }
        };
        [
            (Tensor::Input, input, true),
            (Tensor::Input2, second, !self.kernel.mask && second > 0),
            (Tensor::Target, self.kernel.target_len(), true),
            (Tensor::Weight, weight, self.kernel.weight != WeightSource::None),
            (Tensor::PosWeight, pos_weight, self.kernel.pos_weight != WeightSource::None),
            (Tensor::IgnoreMask, second, self.kernel.mask),
            (Tensor::SampleWeight, self.kernel.items(), self.kernel.sample_weight),
            (Tensor::Stats, 4 * self.kernel.items(), self.wants(Want::STATS)),
            (Tensor::GradOutput, of_loss, self.problem.grad_output),
            (Tensor::Loss, of_loss, self.wants(Want::LOSS)),
            (Tensor::GradInput, input, self.wants(Want::GRAD)),
            (Tensor::GradInput2, second, self.wants(Want::GRAD_INPUT2)),
            (Tensor::GradTarget, self.kernel.target_len(), self.wants(Want::GRAD_TARGET)),
        ]
        .into_iter()
        .filter(|&(_, _, used)| used)
        .map(|(tensor, count, _)| (tensor, self.dtype_of(tensor).bytes(count)))
        .collect()
    }

    /// How a tensor is stored; labels and masks have four bytes too.
    fn dtype_of(&self, tensor: Tensor) -> Dtype {
        match tensor {
            Tensor::Input => self.problem.input_dtype,
            Tensor::GradInput => self.problem.grad_dtype,
            _ => Dtype::F32,
        }
    }

    /// A bind of all of `tensor`, or of nothing if the call does not have it.
    fn bind(&self, plan: &Plan, slot: u32, tensor: Tensor, written: bool) -> Bind {
        let size = plan.size_of(tensor);
        let tensor = if size == 0 { Tensor::Nothing } else { tensor };
        Bind { slot, tensor, written, offset: 0, size, element: 4 }
    }

    fn frame(&self) -> Frame {
        let (classes, inner) = match &self.kernel.layout {
            Layout::Rows(shape) => (shape.classes, shape.inner),
            Layout::Items(_) => (1, 1),
        };
        let mut ignore = [0; 4];
        if let Some(labels) = &self.kernel.labels {
            for (place, slot) in ignore.iter_mut().enumerate() {
                *slot = labels.ignore.get(place).or(labels.ignore.first()).copied().unwrap_or(0);
            }
        }
        Frame {
            rows: 0,
            classes: classes as u32,
            inner: inner as u32,
            first_row: 0,
            grid_x: 1,
            chunk: self.reduce_chunk() as u32,
            item_count: self.kernel.items() as u32,
            denominator: match self.kernel.denominator {
                Denominator::Fixed(value) => value as f32,
                Denominator::Counted => 1.0,
            },
            empty: self.kernel.empty.to_bits(),
            zero: 0,
            parts: 1,
            start: 0,
            ignore,
        }
    }

    /// Constants that all programs of this call share.
    fn reduction_constants(&self) -> Vec<(&'static str, u32)> {
        vec![
            ("REDUCED", u32::from(self.reduced())),
            ("COUNTED", u32::from(self.kernel.denominator == Denominator::Counted)),
        ]
    }

    fn ignore_constant(&self) -> (&'static str, u32) {
        ("HAS_IGNORE", u32::from(self.kernel.labels.as_ref().is_some_and(|labels| !labels.ignore.is_empty())))
    }

    /// Constants of counts.wgsl.
    fn count_constants(&self) -> [(&'static str, u32); 2] {
        let weighs = self.kernel.weighs_mean && self.kernel.weight != WeightSource::None;
        [("WEIGHS_MEAN", u32::from(weighs)), ("HAS_LABELS", u32::from(self.kernel.labels.is_some()))]
    }

    /// Constants of a loss' own kernel.
    fn loss_constants(&self, strategy: RowStrategy) -> Vec<(&'static str, u32)> {
        let mut constants = self.reduction_constants();
        constants.extend(strategy.constants());
        constants.extend(self.kernel.flags.iter().map(|&(name, on)| (name, u32::from(on))));
        constants.push(("HAS_GRAD_OUTPUT", u32::from(self.problem.grad_output)));
        constants.push(("WANT_GRAD", u32::from(self.wants(Want::GRAD))));
        constants
    }

    fn push_rows(&self, plan: &mut Plan, shape: RowShape, items: Tensor) -> Result<(), Error> {
        let per_band = self
            .outer_per_band(shape)
            .ok_or_else(|| self.too_large(format!("a sample of {} x {} logits", shape.classes, shape.inner)))?;
        let mut start = 0;
        while start < shape.outer && shape.inner > 0 {
            let outer = per_band.min(shape.outer - start);
            let frame =
                Frame { rows: (outer * shape.inner) as u32, first_row: (start * shape.inner) as u32, ..self.frame() };
            self.push_band(plan, shape, items, frame)?;
            start += outer;
        }
        Ok(())
    }

    /// The dispatches of one band of rows.
    fn push_band(&self, plan: &mut Plan, shape: RowShape, items: Tensor, frame: Frame) -> Result<(), Error> {
        let strategy = plan.strategy.0;
        let rows = frame.rows as usize;
        match strategy {
            RowStrategy::Tile { rows: tile } => {
                let tiled = rows - rows % tile as usize;
                if tiled > 0 {
                    let frame = Frame { rows: tiled as u32, ..frame };
                    self.push_row_kernel(plan, shape, items, strategy, "rows", tiled, frame)?;
                }
                // Rows that do not fill a tile.
                if tiled < rows {
                    let frame = Frame { start: tiled as u32, ..frame };
                    self.push_row_kernel(plan, shape, items, RowStrategy::Thread, "rows", rows - tiled, frame)?;
                }
                Ok(())
            }
            RowStrategy::Split { parts, .. } => {
                let frame = Frame { parts, chunk: strategy.part_quads(shape.classes) as u32, ..frame };
                let entries = ["parts", "again_parts", "rows"];
                for entry in entries.into_iter().filter(|&entry| self.kernel.revisits || entry != "again_parts") {
                    self.push_row_kernel(plan, shape, items, strategy, entry, rows * parts as usize, frame)?;
                }
                Ok(())
            }
            _ => {
                if self.kernel.marks {
                    self.push_row_kernel(plan, shape, items, RowStrategy::Thread, "mark", rows, frame)?;
                }
                self.push_row_kernel(plan, shape, items, strategy, "rows", rows, frame)
            }
        }
    }

    /// One dispatch over the rows of a band, which are `units` rows or parts of rows.
    #[expect(clippy::too_many_arguments, reason = "what distinguishes one dispatch of a band from another")]
    fn push_row_kernel(
        &self,
        plan: &mut Plan,
        shape: RowShape,
        items: Tensor,
        strategy: RowStrategy,
        entry: &'static str,
        units: usize,
        frame: Frame,
    ) -> Result<(), Error> {
        let grid = self.grid(units.div_ceil(strategy.rows_per_workgroup()))?;
        let frame = Frame { grid_x: grid[0], ..frame };
        let (tile, split) =
            (matches!(strategy, RowStrategy::Tile { .. }), matches!(strategy, RowStrategy::Split { .. }));
        let halves =
            self.problem.input_dtype.size() == 2 || (self.wants(Want::GRAD) && self.problem.grad_dtype.size() == 2);
        // Class weights consist of quads, if there are any, and where classes are neighbours so does every row.
        let whole = shape.classes.is_multiple_of(4);
        let (weight_quads, quads) = (whole && self.kernel.weight != WeightSource::None, whole && shape.inner == 1);
        let element = |quads: bool| if quads { 16 } else { 4 };
        let access = if tile {
            Access::Quads
        } else if !quads {
            Access::Ones
        } else if (halves || self.facts.wide_words()) && shape.classes.is_multiple_of(8) {
            Access::Pairs
        } else {
            Access::Quads
        };
        let wants_grad_target = self.wants(Want::GRAD_TARGET);
        let stats = self.wants(Want::STATS);
        let small = self.is_small(shape, strategy);

        let mut parts = vec![self.kernel.source, part!("skeleton/rows.wgsl")];
        parts.extend(match strategy {
            RowStrategy::Tile { .. } => vec![part!("skeleton/rows_tile.wgsl"), part!("common/quads_tile.wgsl")],
            RowStrategy::Split { .. } => vec![part!("skeleton/rows_split.wgsl"), part!("skeleton/rows_walk.wgsl")],
            _ => vec![part!("skeleton/rows_whole.wgsl"), part!("skeleton/rows_walk.wgsl")],
        });
        if !tile {
            parts.extend(match access {
                Access::Ones => [part!("common/quads_scalar.wgsl"), part!("common/lanes_apart.wgsl")],
                Access::Quads => [part!("common/quads_vec4.wgsl"), part!("common/lanes_apart.wgsl")],
                Access::Pairs => [part!("common/quads_paired.wgsl"), part!("common/lanes_paired.wgsl")],
            });
            parts.push(if matches!(strategy, RowStrategy::Kept { .. }) {
                part!("common/row_kept.wgsl")
            } else {
                part!("common/row_reread.wgsl")
            });
        }
        parts.extend(read_parts(self.problem.input_dtype, access));
        parts.extend(write_parts(self.problem.grad_dtype, access));
        parts.push(strategy.part(self.facts));
        if !self.kernel.revisits {
            parts.push(part!("skeleton/rows_once.wgsl"));
        }
        parts.extend([
            self.sample_weight_part(),
            if stats { part!("common/stats_bound.wgsl") } else { part!("common/stats_none.wgsl") },
            match (&self.kernel.labels, quads) {
                (Some(_), _) => part!("common/target_index.wgsl"),
                (None, true) => part!("common/target_vec4.wgsl"),
                (None, false) => part!("common/target_scalar.wgsl"),
            },
            match (wants_grad_target, quads) {
                (false, _) => part!("common/grad_target_none.wgsl"),
                (true, true) => part!("common/grad_target_vec4.wgsl"),
                (true, false) => part!("common/grad_target_scalar.wgsl"),
            },
            if weight_quads {
                part!("common/class_weight_vec4.wgsl")
            } else {
                part!("common/class_weight_scalar.wgsl")
            },
        ]);
        parts.extend(if small {
            &[
                part!("common/batch_small.wgsl"),
                part!("common/counts.wgsl"),
                part!("common/totals.wgsl"),
                part!("common/records.wgsl"),
            ][..]
        } else {
            &[part!("common/batch_large.wgsl")]
        });
        parts.extend([
            part!("common/labels.wgsl"),
            part!("common/softmax.wgsl"),
            part!("common/extended.wgsl"),
            self.words_part(),
            part!("common/math.wgsl"),
            part!("common/frame.wgsl"),
        ]);

        let mut constants = self.loss_constants(strategy);
        constants.push(("HAS_WEIGHT", u32::from(self.kernel.weight != WeightSource::None)));
        constants.push(self.ignore_constant());
        if small {
            constants.extend(self.count_constants());
            constants.push(("REPORTS", u32::from(self.kernel.checked == Some(Checked::Labels))));
        }
        match strategy {
            RowStrategy::Tile { rows } => constants.extend([("TILE", rows), ("CLASSES", shape.classes as u32)]),
            RowStrategy::Kept { .. } => constants.push(("KEPT", shape.classes.div_ceil(4) as u32)),
            _ => {}
        }

        let whole = |slot, tensor, written| self.bind(plan, slot, tensor, written);
        let band = |slot, tensor, written, element| {
            let all = Bind { element, ..self.bind(plan, slot, tensor, written) };
            // Logits of a sample; `first_row` and `rows` are whole samples.
            let bytes = |rows: u32| self.dtype_of(tensor).bytes(rows as usize * shape.classes);
            let rows = frame.rows.max(frame.start);
            match all.tensor {
                Tensor::Nothing => all,
                _ => Bind { offset: bytes(frame.first_row), size: bytes(rows), ..all },
            }
        };
        // One target per row is addressed in the whole batch, one per logit in the band.
        let target = match self.kernel.labels {
            Some(_) => whole(2, Tensor::Target, false),
            None => band(2, Tensor::Target, false, element(quads)),
        };
        let mut binds = if entry == "mark" {
            vec![target]
        } else {
            vec![
                band(1, Tensor::Input, false, access.vector(self.problem.input_dtype)),
                target,
                Bind { element: element(weight_quads), ..whole(3, Tensor::Weight, false) },
                whole(4, Tensor::GradOutput, false),
                band(5, Tensor::GradInput, true, access.vector(self.problem.grad_dtype)),
                whole(7, items, true),
                whole(8, Tensor::Work, small),
            ]
        };
        if self.kernel.marks {
            binds.retain(|bind| bind.slot != 3);
            binds.push(band(9, Tensor::Marks, true, 4));
        }
        if entry != "mark" {
            if wants_grad_target {
                binds.push(band(6, Tensor::GradTarget, true, element(quads)));
            }
            if small {
                binds.push(whole(13, if self.reduced() { Tensor::Loss } else { Tensor::Nothing }, true));
            }
            if self.kernel.sample_weight {
                binds.push(whole(10, Tensor::SampleWeight, false));
            }
            if stats {
                binds.push(Bind { element: 16, ..whole(11, Tensor::Stats, true) });
            }
            if split {
                binds.push(Bind { element: PARTIAL_BYTES, ..whole(12, Tensor::Partials, true) });
            }
        }
        self.check_storage(&binds)?;
        let uniforms = [bytemuck::bytes_of(&frame), &self.kernel.params].concat();
        plan.dispatches.push(dispatch(parts, entry, constants, uniforms, grid, binds));
        Ok(())
    }

    /// Samples per dispatch such that each band of logits fits a binding and the next one starts at an aligned offset.
    fn outer_per_band(&self, shape: RowShape) -> Option<usize> {
        let logits = shape.classes as u64 * shape.inner as u64;
        let sizes = [self.problem.input_dtype, self.problem.grad_dtype].map(|dtype| dtype.size());
        // Targets and marks of the logits' shape have four bytes each.
        let four = self.kernel.labels.is_none() || self.kernel.marks;
        let largest = sizes.into_iter().max().unwrap_or(4).max(if four { 4 } else { 2 });
        let smallest = sizes.into_iter().min().unwrap_or(4);
        outer_per_band(logits * largest, logits * smallest, shape.outer, self.facts)
    }

    /// The element-wise kernel, and for tensors that are broadcast the sums of their gradients.
    fn push_items(&self, plan: &mut Plan, shape: &Broadcast, out: Tensor) -> Result<(), Error> {
        let strategy = plan.strategy.0;
        let second_gradient = if self.wants(Want::GRAD_INPUT2) { Tensor::GradInput2 } else { Tensor::GradTarget };
        let second_operand = match second_gradient {
            Tensor::GradInput2 => shape.second.as_ref(),
            _ => Some(&shape.target),
        };
        let all_dense = shape.is_dense(&shape.input) && shape.is_dense(&shape.target);
        let dense_second = shape.second.as_ref().is_some_and(|second| shape.is_dense(second));
        let items = shape.items();
        let chunk = self.item_chunk(strategy);
        // Vectors of four, as far as quads are whole: where the last one is not, up to the last chunk if that is worth a dispatch.
        let vectors = if !all_dense {
            0
        } else if items.is_multiple_of(4) {
            items
        } else if items >= MIN_SPLIT_ITEMS {
            items / chunk * chunk
        } else {
            0
        };
        let weighted = self.kernel.weight != WeightSource::None || self.kernel.pos_weight != WeightSource::None;
        // A gradient that is summed up afterwards is first as wide as the items, in f32.
        let grad_dtype = if shape.is_dense(&shape.input) { self.problem.grad_dtype } else { Dtype::F32 };
        let parts = |access: Access| {
            let mut parts = vec![
                self.kernel.source,
                part!("skeleton/items.wgsl"),
                match access {
                    Access::Ones => part!("common/items_broadcast.wgsl"),
                    Access::Quads => part!("common/items_quads.wgsl"),
                    Access::Pairs => part!("common/items_pairs.wgsl"),
                },
            ];
            parts.extend(read_parts(self.problem.input_dtype, access));
            parts.extend(write_parts(grad_dtype, access));
            parts.extend([
                match &shape.second {
                    None => part!("common/second_none.wgsl"),
                    Some(_) if dense_second && access != Access::Ones => part!("common/second_dense.wgsl"),
                    Some(_) => part!("common/second_broadcast.wgsl"),
                },
                match access {
                    _ if self.reduced() => part!("common/losses_summed.wgsl"),
                    Access::Ones => part!("common/losses_ones.wgsl"),
                    _ => part!("common/losses_quads.wgsl"),
                },
                if weighted { part!("common/weights_bound.wgsl") } else { part!("common/weights_none.wgsl") },
                strategy.part(self.facts),
                part!("common/broadcast.wgsl"),
                part!("common/extended.wgsl"),
                part!("common/records.wgsl"),
                self.words_part(),
                part!("common/math.wgsl"),
                part!("common/frame.wgsl"),
            ]);
            parts
        };
        let mut constants = self.loss_constants(strategy);
        let wants_second = self.wants(Want::GRAD_INPUT2) || self.wants(Want::GRAD_TARGET);
        constants.extend([
            ("WANT_GRAD_SECOND", u32::from(wants_second)),
            ("HAS_MASK", u32::from(self.kernel.mask)),
            ("RANK", shape.dims.iter().filter(|&&size| size != 1).count().max(1) as u32),
        ]);
        if weighted {
            constants.push(("HAS_WEIGHT", u32::from(self.kernel.weight != WeightSource::None)));
            constants.push(("HAS_POS_WEIGHT", u32::from(self.kernel.pos_weight != WeightSource::None)));
        }
        // Where a tensor is broadcast, its gradient is first as wide as the items.
        let mut folds = Vec::new();
        let mut wide = |plan: &mut Plan, wanted: bool, operand: Option<&Operand>, narrow: Tensor, scratch: Tensor| {
            if wanted && operand.is_some_and(|operand| !shape.is_dense(operand)) {
                plan.scratch.push((scratch, bytes_of(shape.items())));
                folds.extend(operand.map(|operand| (scratch, narrow, operand.clone())));
                return scratch;
            }
            narrow
        };
        let grad_input =
            wide(plan, self.wants(Want::GRAD), Some(&shape.input), Tensor::GradInput, Tensor::WideGradInput);
        let grad_second = wide(plan, wants_second, second_operand, second_gradient, Tensor::WideGradSecond);

        let second = if self.kernel.mask { Tensor::IgnoreMask } else { Tensor::Input2 };
        let mut binds = vec![
            self.bind(plan, 1, Tensor::Input, false),
            self.bind(plan, 2, Tensor::Target, false),
            self.bind(plan, 4, Tensor::GradOutput, false),
            self.bind(plan, 5, grad_input, true),
            self.bind(plan, 6, grad_second, true),
            self.bind(plan, 7, out, true),
        ];
        if weighted {
            binds.push(self.bind(plan, 3, Tensor::Weight, false));
            binds.push(self.bind(plan, 8, Tensor::PosWeight, false));
        }
        if shape.second.is_some() {
            binds.push(self.bind(plan, 9, second, false));
        }
        self.check_storage(&binds)?;
        let vector = if self.facts.wide_words() && vectors.is_multiple_of(8) { Access::Pairs } else { Access::Quads };
        for (range, access) in [(0..vectors, vector), (vectors..items, Access::Ones)] {
            if range.is_empty() {
                continue;
            }
            let grid = self.grid(range.len().div_ceil(chunk))?;
            let (first_row, item_count) = (range.start as u32, range.end as u32);
            let frame = Frame { first_row, item_count, chunk: chunk as u32, grid_x: grid[0], ..self.frame() };
            let uniforms = [bytemuck::bytes_of(&frame), &broadcast_bytes(shape), &self.kernel.params].concat();
            let mut binds = binds.clone();
            for bind in binds.iter_mut().filter(|_| access != Access::Ones) {
                let (dtype, access) = match bind.slot {
                    1 => (self.problem.input_dtype, access),
                    2 | 6 => (Dtype::F32, access),
                    5 => (grad_dtype, access),
                    4 | 7 if !self.reduced() => (Dtype::F32, Access::Quads),
                    9 if dense_second => (Dtype::F32, Access::Quads),
                    _ => continue,
                };
                *bind = Bind { element: access.vector(dtype), size: bind.size.min(dtype.bytes(range.end)), ..*bind };
            }
            let step = if access == Access::Pairs { 8 } else { 8 * strategy.lanes() as usize };
            let mut constants = constants.clone();
            constants.push(("WHOLE", u32::from(range.end.is_multiple_of(step))));
            plan.dispatches.push(dispatch(parts(access), "items", constants, uniforms, grid, binds));
        }
        for (from, to, operand) in folds {
            self.push_fold(plan, shape, from, to, &operand)?;
        }
        Ok(())
    }

    /// Sums the wide gradient of a broadcast tensor to its own shape; in two steps where each element collects many items.
    fn push_fold(
        &self,
        plan: &mut Plan,
        shape: &Broadcast,
        from: Tensor,
        to: Tensor,
        operand: &Operand,
    ) -> Result<(), Error> {
        let owns = operand.strides.map(|stride| stride > 0);
        let kept = std::array::from_fn(|k| if owns[k] { shape.dims[k] } else { 1 });
        let shared: [usize; 4] = std::array::from_fn(|k| if owns[k] { 1 } else { shape.dims[k] });
        let (elements, collected) = (operand.len(), shared.iter().product::<usize>());
        let chunk = FOLD_CHUNK;
        let segments = collected.div_ceil(chunk).max(1);
        if segments == 1 {
            return self.push_fold_step(plan, (from, to), shape.dims, shared, kept, (elements, collected, 1));
        }
        let partial = if from == Tensor::WideGradInput { Tensor::PartialInput } else { Tensor::PartialSecond };
        plan.scratch.push((partial, bytes_of(segments * elements)));
        self.push_fold_step(plan, (from, partial), shape.dims, shared, kept, (elements, collected, segments))?;
        let by_segment = [1, 1, segments, elements];
        let steps = ([1, 1, segments, 1], [1, 1, 1, elements]);
        self.push_fold_step(plan, (partial, to), by_segment, steps.0, steps.1, (elements, segments, 1))
    }

    /// One fold: every element of `to` collects so many items of `from`, in so many segments.
    fn push_fold_step(
        &self,
        plan: &mut Plan,
        (from, to): (Tensor, Tensor),
        dims: [usize; 4],
        shared: [usize; 4],
        kept: [usize; 4],
        (elements, collected, segments): (usize, usize, usize),
    ) -> Result<(), Error> {
        let strategy = RowStrategy::for_reduction(self.facts);
        let binds = vec![self.bind(plan, 1, from, false), self.bind(plan, 5, to, true)];
        if binds.iter().any(|bind| bind.tensor == Tensor::Nothing) {
            return Ok(());
        }
        let grid = self.grid(elements * segments)?;
        let frame = Frame {
            rows: elements as u32,
            item_count: collected as u32,
            chunk: collected.div_ceil(segments) as u32,
            grid_x: grid[0],
            ..self.frame()
        };
        let params = [dims, shared, kept].map(words);
        let mut parts = vec![part!("skeleton/fold.wgsl"), strategy.part(self.facts)];
        parts.extend(write_parts(self.dtype_of(to), Access::Ones));
        parts.extend([part!("common/records.wgsl"), part!("common/math.wgsl"), part!("common/frame.wgsl")]);
        let uniforms = [bytemuck::bytes_of(&frame), bytemuck::bytes_of(&params)].concat();
        plan.dispatches.push(dispatch(parts, "fold", strategy.constants(), uniforms, grid, binds));
        Ok(())
    }

    /// A sum over all items: one dispatch, or two if there are many.
    fn push_reduction(&self, plan: &mut Plan, summed: Summed) {
        let source = match summed {
            Summed::Denominator if self.kernel.mask => part!("skeleton/reduce_mask.wgsl"),
            Summed::Denominator => part!("skeleton/reduce_weights.wgsl"),
            Summed::Losses(Tensor::Items) => part!("skeleton/reduce_eights.wgsl"),
            Summed::Losses(_) => part!("skeleton/reduce_items.wgsl"),
        };
        let frame = self.frame();
        let records = (frame.item_count as usize).div_ceil(frame.chunk as usize).max(1);
        self.push_sum(plan, source, summed, &frame, records as u32);
        if records > 1 {
            self.push_records(plan, records, summed);
        }
    }

    /// Combines the records of an earlier dispatch.
    fn push_records(&self, plan: &mut Plan, records: usize, summed: Summed) {
        let combine = Frame { item_count: records as u32, chunk: records.max(1) as u32, ..self.frame() };
        self.push_sum(plan, part!("skeleton/reduce_records.wgsl"), summed, &combine, 1);
    }

    fn push_sum(&self, plan: &mut Plan, source: Part, summed: Summed, frame: &Frame, groups: u32) {
        let (counting, items) = match summed {
            Summed::Denominator => (true, Tensor::Nothing),
            Summed::Losses(items) => (false, items),
        };
        // One label or mask per item, in a tensor that ends with the last: by eights only where all are whole.
        let whole = counting && self.kernel.items().is_multiple_of(8);
        let access = if whole { Access::Pairs } else { Access::Ones };
        let strategy = RowStrategy::for_reduction(self.facts);
        let values = match self.kernel.checked {
            _ if source == part!("skeleton/reduce_mask.wgsl") => Tensor::IgnoreMask,
            Some(Checked::Labels) => Tensor::Target,
            Some(Checked::Input) => Tensor::Input,
            // The bad label of a list is not known by its row.
            Some(Checked::LabelLists) | None => Tensor::Nothing,
        };
        let binds = vec![
            Bind { element: access.vector(self.dtype_of(values)), ..self.bind(plan, 1, values, false) },
            self.bind(plan, 2, Tensor::Weight, false),
            Bind { element: if items == Tensor::Items { EIGHT_BYTES } else { 4 }, ..self.bind(plan, 3, items, false) },
            self.bind(plan, 4, Tensor::Work, true),
            self.bind(plan, 5, if items == Tensor::Loss { Tensor::Nothing } else { Tensor::Loss }, true),
        ];
        let mut constants = self.reduction_constants();
        constants.extend(strategy.constants());
        constants.push(("COUNTING", u32::from(counting)));
        constants.push(("REPORTS", u32::from(values != Tensor::Nothing)));
        constants.push(self.ignore_constant());
        let mut binds = binds;
        if source == part!("skeleton/reduce_weights.wgsl") {
            constants.extend(self.count_constants());
            if self.kernel.sample_weight {
                binds.push(self.bind(plan, 10, Tensor::SampleWeight, false));
            }
        }
        let mut parts = vec![source, self.sample_weight_part(), part!("skeleton/reduce.wgsl")];
        if source == part!("skeleton/reduce_weights.wgsl") {
            parts.push(part!("common/counts.wgsl"));
        }
        parts.extend(read_parts(self.dtype_of(values), access));
        parts.push(match access {
            Access::Pairs => part!("common/eights_pairs.wgsl"),
            _ => part!("common/eights_ones.wgsl"),
        });
        parts.extend([
            strategy.part(self.facts),
            part!("common/labels.wgsl"),
            part!("common/totals.wgsl"),
            part!("common/records.wgsl"),
            self.words_part(),
            part!("common/math.wgsl"),
            part!("common/frame.wgsl"),
        ]);
        let uniforms = [bytemuck::bytes_of(frame), &[0; 16]].concat();
        plan.dispatches.push(dispatch(parts, "reduce", constants, uniforms, [groups, 1], binds));
    }

    fn grid(&self, groups: usize) -> Result<[u32; 2], Error> {
        let most = self.facts.max_workgroups as usize;
        let x = groups.clamp(1, most);
        let y = groups.div_ceil(x);
        if y > most {
            return Err(self.too_large(format!("{groups} workgroups")));
        }
        Ok([x as u32, y as u32])
    }
}

fn bytes_of(words: usize) -> u64 {
    words as u64 * 4
}

fn dispatch(
    parts: Vec<Part>,
    entry: &'static str,
    constants: Vec<(&'static str, u32)>,
    uniforms: Vec<u8>,
    grid: [u32; 2],
    binds: Vec<Bind>,
) -> Dispatch {
    let storage = binds.iter().map(|bind| (bind.slot, bind.written, bind.element)).collect();
    let program = Program { parts, entry, constants, uniform_bytes: uniforms.len(), storage };
    Dispatch { program, uniforms, grid, binds }
}

fn words(values: [usize; 4]) -> [u32; 4] {
    values.map(|value| value as u32)
}

/// How the input is read and its gradient written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// One element at a time, at any place.
    Ones,
    /// Four aligned elements at a time.
    Quads,
    /// Eight aligned elements at a time: 16 bytes of 16-bit ones, or the 32 that 64-bit words fetch at once.
    Pairs,
}

impl Access {
    /// Bytes of the vectors of which the kernel's arrays consist.
    fn vector(self, dtype: Dtype) -> u64 {
        match self {
            Self::Ones => 4,
            Self::Quads => 4 * dtype.size(),
            Self::Pairs => 8 * dtype.size(),
        }
    }
}

/// The files that read the input.
fn read_parts(dtype: Dtype, access: Access) -> Vec<Part> {
    let reads = match (dtype, access) {
        (Dtype::F32, Access::Ones) => part!("common/read_ones_32.wgsl"),
        (Dtype::F32, Access::Quads) => part!("common/read_quads_32.wgsl"),
        (Dtype::F32, Access::Pairs) => part!("common/read_pairs_32.wgsl"),
        (_, Access::Ones) => part!("common/read_ones_16.wgsl"),
        (_, Access::Quads) => part!("common/read_quads_16.wgsl"),
        (_, Access::Pairs) => part!("common/read_pairs_16.wgsl"),
    };
    if dtype == Dtype::F32 { vec![reads] } else { vec![reads, widen_part(dtype)] }
}

/// The files that write its gradient.
fn write_parts(dtype: Dtype, access: Access) -> Vec<Part> {
    let writes = match (dtype, access) {
        (Dtype::F32, Access::Ones) => part!("common/write_ones_32.wgsl"),
        (Dtype::F32, Access::Quads) => part!("common/write_quads_32.wgsl"),
        (Dtype::F32, Access::Pairs) => part!("common/write_pairs_32.wgsl"),
        (_, Access::Ones) => part!("common/write_ones_16.wgsl"),
        (_, Access::Quads) => part!("common/write_quads_16.wgsl"),
        (_, Access::Pairs) => part!("common/write_pairs_16.wgsl"),
    };
    if dtype == Dtype::F32 { vec![writes] } else { vec![writes, narrow_part(dtype)] }
}

fn widen_part(dtype: Dtype) -> Part {
    if dtype == Dtype::F16 { part!("common/widen_f16.wgsl") } else { part!("common/widen_bf16.wgsl") }
}

fn narrow_part(dtype: Dtype) -> Part {
    if dtype == Dtype::F16 { part!("common/narrow_f16.wgsl") } else { part!("common/narrow_bf16.wgsl") }
}

/// `Broadcast` in items.wgsl.
fn broadcast_bytes(shape: &Broadcast) -> Vec<u8> {
    let strides = |operand: Option<&Operand>| operand.map_or([0; 4], |operand| words(operand.strides));
    let rows = [
        words(shape.dims),
        strides(Some(&shape.input)),
        strides(shape.second.as_ref()),
        strides(Some(&shape.target)),
        strides(shape.weight.as_ref()),
        strides(shape.pos_weight.as_ref()),
    ];
    bytemuck::bytes_of(&rows).to_vec()
}

/// Samples per dispatch, of `samples` in all, where one has at most `largest` bytes in a tensor, and `smallest` in another.
fn outer_per_band(largest: u64, smallest: u64, samples: usize, facts: &AdapterFacts) -> Option<usize> {
    // Element numbers in a band are 32 bits.
    let most = usize::try_from(facts.max_binding.min(1 << 33) / largest.max(1)).unwrap_or(usize::MAX);
    if samples <= most {
        return Some(samples.max(1));
    }
    // What is aligned in the tensor with the smallest elements is in the others.
    let step = facts.offset_alignment / gcd(facts.offset_alignment, smallest.max(1));
    match most / step as usize * step as usize {
        0 => None,
        outer => Some(outer),
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::{LOSSES, Loss};
    use crate::problem::TargetKind;
    use crate::{Bce, CrossEntropy, MarginRanking};

    fn minimum() -> AdapterFacts {
        AdapterFacts::default()
    }

    fn software(subgroup: Option<(u32, u32)>) -> AdapterFacts {
        AdapterFacts { is_cpu: true, subgroup, ..minimum() }
    }

    fn plan(loss: &dyn Loss, problem: &Problem, facts: &AdapterFacts) -> Result<Plan, Error> {
        Plan::new(&loss.kernel(problem)?, problem, facts, None)
    }

    /// The first variant of every loss on this shape, with loss and gradient.
    fn plans(shape: &[usize], facts: &AdapterFacts) -> Vec<(&'static str, Plan)> {
        stored_plans(shape, facts, [Dtype::F32; 2])
    }

    /// The same with input and gradient stored so.
    fn stored_plans(shape: &[usize], facts: &AdapterFacts, [input, grad]: [Dtype; 2]) -> Vec<(&'static str, Plan)> {
        let of = |info: &'static crate::LossInfo| {
            let loss = (info.variants)(shape[1]).remove(0);
            let problem = loss.sample(shape, 1).view().problem(Want::LOSS | Want::GRAD).with_grad_output();
            plan(&*loss, &problem.input_dtype(input).grad_dtype(grad), facts).map(|plan| (info.name, plan)).ok()
        };
        LOSSES.iter().filter_map(of).collect()
    }

    fn frame(dispatch: &Dispatch) -> Frame {
        bytemuck::pod_read_unaligned(&dispatch.uniforms[..size_of::<Frame>()])
    }

    /// Bands cover all rows once and in order, start at aligned offsets, and fit a binding; those of the logits' tensors follow on
    /// each other without a gap, whatever the size of their elements.
    #[test]
    fn bands_cover_the_batch_and_fit_a_binding() {
        let small = AdapterFacts { max_binding: 1 << 16, ..minimum() };
        let shapes: [&[usize]; 8] = [
            &[300, 128],
            &[1000, 101],
            &[700, 33],
            &[2001, 33],
            &[5003, 7],
            &[9, 64, 70],
            &[5, 16, 7, 8],
            &[3, 5, 33, 33],
        ];
        let stored = [Dtype::F32, Dtype::F16, Dtype::Bf16];
        for (shape, input) in shapes.into_iter().flat_map(|shape| stored.map(|input| (shape, input))) {
            for (grad, (name, plan)) in stored
                .into_iter()
                .flat_map(|grad| stored_plans(shape, &small, [input, grad]).into_iter().map(move |p| (grad, p)))
            {
                let name = &format!("{name} {shape:?} {input:?} {grad:?}");
                let rows: Vec<_> = plan.dispatches.iter().filter(|dispatch| dispatch.program.entry == "rows").collect();
                let mut next = 0;
                // A tail of a tile's rows has the offset of its band.
                let mut ends = [(Tensor::Input, 0), (Tensor::GradInput, 0)];
                for dispatch in &rows {
                    let frame = frame(dispatch);
                    assert_eq!(frame.first_row + frame.start, next, "{name}");
                    next = frame.first_row + frame.rows.max(frame.start);
                    for (tensor, end) in &mut ends {
                        let bind =
                            dispatch.binds.iter().find(|bind| bind.tensor == *tensor).expect("bound by every band");
                        assert!(bind.offset == *end || frame.start > 0, "{name} {bind:?}");
                        *end = bind.offset + bind.size;
                    }
                }
                if !rows.is_empty() {
                    assert_eq!(bytes_of((next as usize).next_multiple_of(8)), plan.size_of(Tensor::Items), "{name}");
                    assert!(ends.iter().all(|&(tensor, end)| end == plan.size_of(tensor)), "{name} {ends:?}");
                }
                check_binds(name, &plan, &small);
            }
        }
    }

    /// Binds lie within their tensors and the device's limits; the outputs of one dispatch do not overlap.
    fn check_binds(name: &str, plan: &Plan, facts: &AdapterFacts) {
        for dispatch in &plan.dispatches {
            let label = dispatch.program.label();
            for bind in dispatch.binds.iter().filter(|bind| bind.tensor != Tensor::Nothing) {
                assert!(bind.offset.is_multiple_of(facts.offset_alignment), "{name} {label} {bind:?}");
                assert!(bind.size > 0 && bind.size <= facts.max_binding, "{name} {label} {bind:?}");
                assert!(bind.offset + bind.size <= plan.size_of(bind.tensor), "{name} {label} {bind:?}");
                assert!(bind.size.is_multiple_of(bind.element), "{name} {label} {bind:?}");
            }
            let mut slots: Vec<u32> = dispatch.binds.iter().map(|bind| bind.slot).collect();
            slots.sort_unstable();
            slots.dedup();
            assert_eq!(slots.len(), dispatch.binds.len(), "{name} {label}: a slot is bound twice");
            assert!(slots.len() <= facts.max_storage_buffers as usize, "{name} {label}");
            for written in dispatch.binds.iter().filter(|bind| bind.written && bind.tensor != Tensor::Nothing) {
                let same = dispatch.binds.iter().filter(|bind| bind.tensor == written.tensor).count();
                assert_eq!(same, 1, "{name} {label}: {:?} is written and bound twice", written.tensor);
            }
        }
    }

    /// What would need unaligned bands is refused only where the batch is too large for one.
    #[test]
    fn a_batch_that_fits_a_binding_needs_no_aligned_bands() {
        let small = AdapterFacts { max_binding: 1 << 16, ..minimum() };
        let ce = CrossEntropy::new();
        let whole = plan(&ce, &Problem::new(&[3, 5, 33, 33], TargetKind::Indices), &small).unwrap();
        assert_eq!(whole.dispatches.iter().filter(|dispatch| dispatch.program.entry == "rows").count(), 1);
        for shape in [&[4, 5, 33, 33][..], &[1, 16_385], &[2, 130, 127], &[16_385, 1]] {
            let refused = plan(&ce, &Problem::new(shape, TargetKind::Indices), &small);
            assert!(matches!(refused, Err(Error::Unsupported { .. })), "{shape:?}: {refused:?}");
        }
    }

    /// Grids keep to the device's limit, along x and then along y, and their workgroups suffice for the rows.
    #[test]
    fn grids_keep_to_the_limit_and_suffice() {
        for most in [32, 65_535] {
            let facts = AdapterFacts { max_workgroups: most, ..minimum() };
            for shape in [[1, 5], [64, 5], [65, 5], [2_000, 5], [33, 40], [900, 40], [70_000, 3]] {
                for (name, plan) in plans(&shape, &facts) {
                    for dispatch in &plan.dispatches {
                        let [x, y] = dispatch.grid;
                        assert!(x > 0 && y > 0 && x <= most && y <= most, "{name} {shape:?} {:?}", dispatch.grid);
                        let frame = frame(dispatch);
                        if dispatch.program.entry == "rows" {
                            let constant = |name| {
                                let found = dispatch.program.constants.iter().find(|(n, _)| *n == name);
                                found.map_or(1, |&(_, value)| u64::from(value))
                            };
                            let per_group = constant("WORKGROUP") / constant("LANES") * constant("TILE");
                            let parts = u64::from(frame.rows - frame.start) * u64::from(frame.parts);
                            assert!(u64::from(x) * u64::from(y) * per_group >= parts, "{name}");
                            assert_eq!(frame.grid_x, x, "{name} {shape:?}");
                        }
                    }
                }
            }
        }
    }

    /// The scratch holds a record of each workgroup that leaves one, wherever records.wgsl puts it.
    #[test]
    fn the_scratch_holds_every_record() {
        let text = part!("common/records.wgsl").text;
        assert!(text.contains(&format!("const RECORDS_AT = {WORK_HEADER_WORDS}u;")), "RECORDS_AT differs");
        assert!(text.contains(&format!("const RECORD_WORDS = {RECORD_WORDS}u;")), "RECORD_WORDS differs");
        for shape in [[1, 3], [8_192, 3], [8_193, 3], [70_000, 3], [2_000_000, 2]] {
            for facts in [minimum(), software(Some((8, 8)))] {
                for (name, plan) in plans(&shape, &facts) {
                    for dispatch in plan.dispatches.iter().filter(|dispatch| dispatch.program.entry != "rows") {
                        let writes = dispatch.binds.iter().any(|bind| bind.tensor == Tensor::Work && bind.written);
                        let groups = (dispatch.grid[0] * dispatch.grid[1]) as usize;
                        if writes && groups > 1 {
                            let needed = bytes_of(WORK_HEADER_WORDS + groups * RECORD_WORDS);
                            assert!(plan.size_of(Tensor::Work) >= needed, "{name} {shape:?}: {groups} records");
                        }
                        let frame = frame(dispatch);
                        let items = u64::from(frame.chunk) * groups as u64;
                        if matches!(dispatch.program.entry, "reduce" | "items") {
                            assert!(items >= u64::from(frame.item_count), "{name} {shape:?}: {groups} groups");
                        }
                    }
                }
            }
        }
    }

    /// A denominator that the GPU counts is there before the kernel that divides by it, and the sum of losses comes last.
    #[test]
    fn the_denominator_is_counted_first_and_the_loss_is_summed_last() {
        let stems = |loss: &dyn Loss, problem: &Problem| -> Vec<String> {
            plan(loss, problem, &minimum()).unwrap().dispatches.iter().map(|d| d.program.label()).collect()
        };
        let rows = Problem::rows(9, 40);
        let all = ["deeploss.reduce_weights.reduce", "deeploss.cross_entropy.rows", "deeploss.reduce_eights.reduce"];
        assert_eq!(stems(&CrossEntropy::new(), &rows), all);
        assert_eq!(stems(&CrossEntropy::new().reduction(Reduction::Sum), &rows), all[1..]);
        // Unreduced, the last dispatch only looks for invalid labels.
        let in_callers_buffer = [all[1], "deeploss.reduce_items.reduce"];
        assert_eq!(stems(&CrossEntropy::new().reduction(Reduction::None), &rows), in_callers_buffer);
        let many = stems(&CrossEntropy::new(), &Problem::rows(20_000, 40));
        let records = "deeploss.reduce_records.reduce";
        assert_eq!(many, [all[0], records, all[1], all[2], records]);
        let probabilities = Problem::new(&[9, 40], TargetKind::Values);
        assert_eq!(stems(&CrossEntropy::new(), &probabilities), all[1..]);
        let gradient = Problem::new(&[9, 40], TargetKind::Values).wants(Want::GRAD);
        assert_eq!(stems(&CrossEntropy::new(), &gradient), [all[1]]);
        // A workgroup that has all rows does it all.
        assert_eq!(stems(&CrossEntropy::new(), &Problem::rows(64, 4)), [all[1]]);
        assert_eq!(stems(&CrossEntropy::new(), &Problem::rows(65, 4)), all);
    }

    /// Only tensors that take part have a size, and it is that of their shape.
    #[test]
    fn sizes_are_those_of_the_shapes() {
        let size = |plan: &Plan, tensor| plan.sizes.iter().find(|(t, _)| *t == tensor).map(|&(_, size)| size);
        let ce = CrossEntropy::new().weight([1.0; 5]);
        let mean = plan(&ce, &Problem::rows(9, 5).with_grad_output(), &minimum()).unwrap();
        let of_mean = [(Tensor::Input, 180), (Tensor::Target, 36), (Tensor::Weight, 20), (Tensor::GradOutput, 4)];
        for (tensor, bytes) in of_mean.into_iter().chain([(Tensor::Loss, 4), (Tensor::GradInput, 180)]) {
            assert_eq!(size(&mean, tensor), Some(bytes), "{tensor:?}");
        }
        assert_eq!(size(&mean, Tensor::GradTarget), None);
        let none = ce.reduction(Reduction::None);
        let none = plan(&none, &Problem::rows(9, 5).with_grad_output().wants(Want::LOSS), &minimum()).unwrap();
        assert_eq!((size(&none, Tensor::Loss), size(&none, Tensor::GradOutput)), (Some(36), Some(36)));
        assert_eq!(size(&none, Tensor::GradInput), None);
        assert!(none.scratch.iter().all(|&(tensor, _)| tensor == Tensor::Work), "{:?}", none.scratch);
        let ranking = Problem::new(&[3, 1], TargetKind::Values).input2_shape(&[4]).target_shape(&[3, 4]);
        let ranking = plan(&MarginRanking::new(), &ranking.wants(Want::LOSS | Want::GRAD), &minimum()).unwrap();
        assert_eq!(size(&ranking, Tensor::Input2), Some(16));
        assert_eq!(size(&ranking, Tensor::Target), Some(48));
        assert_eq!(size(&ranking, Tensor::GradInput), Some(12));
    }

    /// Too many items to address, or to bind.
    #[test]
    fn what_no_device_can_address_is_refused() {
        let huge = AdapterFacts { max_binding: u64::MAX, max_workgroups: u32::MAX, ..minimum() };
        for problem in [Problem::rows(1 << 33, 1), Problem::new(&[1 << 33], TargetKind::Values)] {
            let refused = if problem.target == TargetKind::Indices {
                plan(&CrossEntropy::new(), &problem, &huge)
            } else {
                plan(&Bce::new(), &problem, &huge)
            };
            assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
        }
    }

    /// Rust's Frame lies where WGSL's does.
    #[test]
    fn the_frame_is_laid_out_as_in_wgsl() {
        use std::mem::offset_of;
        let expected = [
            ("rows", offset_of!(Frame, rows)),
            ("classes", offset_of!(Frame, classes)),
            ("inner", offset_of!(Frame, inner)),
            ("first_row", offset_of!(Frame, first_row)),
            ("grid_x", offset_of!(Frame, grid_x)),
            ("chunk", offset_of!(Frame, chunk)),
            ("item_count", offset_of!(Frame, item_count)),
            ("denominator", offset_of!(Frame, denominator)),
            ("empty", offset_of!(Frame, empty)),
            ("zero", offset_of!(Frame, zero)),
            ("parts", offset_of!(Frame, parts)),
            ("start", offset_of!(Frame, start)),
            ("ignore", offset_of!(Frame, ignore)),
        ];
        assert_eq!(members("Frame", Bce::new()), (expected.map(|(name, at)| (name.to_owned(), at)).to_vec(), 64));
        assert_eq!(size_of::<Frame>(), 64);
    }

    /// `broadcast_bytes` writes six rows of four in this order.
    #[test]
    fn the_broadcast_is_laid_out_as_in_wgsl() {
        let names = ["dims", "input", "second", "expected", "weight", "pos_weight"];
        let expected = names.iter().enumerate().map(|(row, name)| ((*name).to_owned(), 16 * row)).collect();
        assert_eq!(members("Broadcast", Bce::new()), (expected, 96));
    }

    /// Members and size of a struct in the module of a loss.
    fn members(structure: &str, loss: impl Loss) -> (Vec<(String, usize)>, usize) {
        let plan = plan(&loss, &Problem::new(&[3], TargetKind::Values), &minimum()).unwrap();
        let module = naga::front::wgsl::parse_str(&plan.dispatches[0].program.wgsl()).unwrap();
        let (_, ty) = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(structure)).expect("the struct");
        let naga::TypeInner::Struct { members, span } = &ty.inner else { panic!("{structure} is no struct") };
        let place = |member: &naga::StructMember| (member.name.clone().unwrap_or_default(), member.offset as usize);
        (members.iter().map(place).collect(), *span as usize)
    }
}
