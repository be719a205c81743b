//! What will run: dispatches, parameter bytes, buffer sizes. Pure data, made without a GPU.

use bytemuck::{Pod, Zeroable};

use crate::context::AdapterFacts;
use crate::error::Error;
use crate::kernel::{Denominator, Kernel, WeightSource};
use crate::link::{Part, part};
use crate::pipeline::Program;
use crate::problem::{Problem, Reduction, RowShape, Want};

/// The tensors of a call, by the names that errors use, and the buffers a prepared call owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Tensor {
    Input,
    Target,
    Weight,
    GradOutput,
    Loss,
    GradInput,
    GradTarget,
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
        matches!(self, Self::Loss | Self::GradInput | Self::GradTarget)
    }

    /// The name of the field in [`Buffers`](crate::Buffers).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Target => "target",
            Self::Weight => "weight",
            Self::GradOutput => "grad_output",
            Self::Loss => "loss",
            Self::GradInput => "grad_input",
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

/// How the rows are shared out among invocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowStrategy {
    /// One invocation per row (per position, where the class axis is not last).
    Thread,
    /// One subgroup per row, which is its whole workgroup: no barriers.
    Subgroup {
        /// Size of the subgroup.
        lanes: u32,
    },
    /// One workgroup per row, reduced in workgroup memory.
    Workgroup {
        /// Invocations of the workgroup.
        lanes: u32,
    },
}

/// The dispatches of one call, in order, and the scratch they need.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// How rows are shared out, and why.
    pub strategy: (RowStrategy, &'static str),
    /// In order.
    pub dispatches: Vec<Dispatch>,
    /// Bytes of each caller tensor that takes part.
    pub sizes: Vec<(Tensor, u64)>,
    /// Bytes of the scratch for items, 0 if none.
    pub items_bytes: u64,
    /// Bytes of the scratch for denominator, status and partial sums.
    pub work_bytes: u64,
    /// The last dispatch leaves a status in `work`.
    pub has_status: bool,
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
    pub(crate) spare: [u32; 2],
    pub(crate) ignore: [i32; 4],
}

/// lavapipe ends an invocation silently after 65 535 loop iterations in all its loops together.
const MAX_ITERATIONS: usize = 60_000;
/// Up to here a row is so short that lanes of a group would idle.
const THREAD_MAX_CLASSES: usize = 32;
/// Lanes of a workgroup per row on a GPU: (largest C, lanes).
const WORKGROUP_LANES: [(usize, u32); 2] = [(1024, 64), (usize::MAX, 256)];
/// Items that one workgroup of a reduction sums.
const REDUCE_CHUNK: usize = 8192;
/// More records than this would be too many for the one workgroup that combines them.
const MAX_RECORDS: usize = 16_384;
/// Words before the records, and of one record, in `work`: RECORDS_AT and RECORD_WORDS in reduce.wgsl.
const WORK_HEADER_WORDS: usize = 8;
const RECORD_WORDS: usize = 8;
/// Invocations of a workgroup whose invocations are independent.
const INDEPENDENT: u32 = 64;

impl RowStrategy {
    /// Lanes that share a row.
    #[must_use]
    pub fn lanes(self) -> u32 {
        match self {
            Self::Thread => 1,
            Self::Subgroup { lanes } | Self::Workgroup { lanes } => lanes,
        }
    }

    fn workgroup(self) -> u32 {
        match self {
            Self::Thread => INDEPENDENT,
            Self::Subgroup { lanes } | Self::Workgroup { lanes } => lanes,
        }
    }

    fn part(self) -> Part {
        match self {
            Self::Thread => part!("common/group_single.wgsl"),
            Self::Subgroup { .. } => part!("common/group_subgroup.wgsl"),
            Self::Workgroup { .. } => part!("common/group_shared.wgsl"),
        }
    }

    fn constants(self) -> [(&'static str, u32); 2] {
        [("LANES", self.lanes()), ("WORKGROUP", self.workgroup())]
    }

    /// Loop iterations of one invocation: quads of classes in three passes at most (sums and gradient by fours, inf and NaN singly).
    fn iterations(self, classes: usize) -> usize {
        let quads = classes.div_ceil(4 * self.lanes() as usize);
        quads + 2 * (quads / 4 + 4)
    }

    /// Whether the adapter can run it on rows of so many classes.
    #[must_use]
    pub fn serves(self, facts: &AdapterFacts, classes: usize) -> bool {
        let runs = match self {
            Self::Thread => true,
            Self::Subgroup { lanes } => facts.subgroup == Some((lanes, lanes)),
            Self::Workgroup { lanes } => {
                lanes.is_power_of_two() && lanes <= facts.max_invocations && 4 * lanes <= facts.max_workgroup_memory
            }
        };
        runs && self.iterations(classes) <= MAX_ITERATIONS
    }

    /// The strategy for rows of this shape on this adapter, and the reason.
    fn choose(facts: &AdapterFacts, shape: RowShape) -> (Self, &'static str) {
        let mut candidates = Vec::new();
        if shape.inner > 1 {
            candidates.push((Self::Thread, "class axis not last: neighbouring positions are neighbours in memory"));
        }
        if shape.classes <= THREAD_MAX_CLASSES {
            candidates.push((Self::Thread, "few classes: lanes of a group would idle"));
        }
        if facts.is_cpu {
            if let Some((size, _)) = facts.subgroup {
                candidates.push((
                    Self::Subgroup { lanes: size },
                    "CPU adapter: barriers are expensive, a subgroup needs none",
                ));
            }
            candidates.push((Self::Thread, "CPU adapter without a fixed subgroup size: a thread needs no barriers"));
        }
        for (limit, lanes) in WORKGROUP_LANES {
            if shape.classes <= limit {
                candidates.push((Self::Workgroup { lanes }, "a workgroup per row"));
            }
        }
        candidates
            .into_iter()
            .find(|(strategy, _)| strategy.serves(facts, shape.classes))
            .unwrap_or((Self::Thread, "no other strategy serves this adapter"))
    }

    /// For sums over items.
    fn for_reduction(facts: &AdapterFacts) -> Self {
        match facts.subgroup {
            Some((min, max)) if facts.is_cpu && min == max => Self::Subgroup { lanes: min },
            _ => Self::Workgroup { lanes: 256.min(prev_power_of_two(facts.max_invocations)) },
        }
    }
}

fn prev_power_of_two(n: u32) -> u32 {
    1 << n.max(1).ilog2()
}

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
        Planner { kernel, problem, facts }.plan(forced)
    }
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

    fn plan(&self, forced: Option<RowStrategy>) -> Result<Plan, Error> {
        let shape = self.kernel.rows;
        let strategy = match forced {
            Some(strategy) if !strategy.serves(self.facts, shape.classes) => {
                return Err(Error::Unsupported {
                    what: format!("{strategy:?} for {} classes", shape.classes),
                    why: "the adapter lacks what it needs, or one invocation would loop too often".into(),
                    instead: "leave the choice to the plan",
                });
            }
            Some(strategy) => (strategy, "forced by the caller"),
            None => RowStrategy::choose(self.facts, shape),
        };
        if !strategy.0.serves(self.facts, shape.classes) {
            return Err(self.too_large(format!("a row of {} classes", shape.classes)));
        }
        let reduced = self.kernel.reduction != Reduction::None;
        let has_status = self.kernel.labels.is_some();
        let items = if reduced || !self.wants(Want::LOSS) { Tensor::Items } else { Tensor::Loss };
        let records = shape.rows().div_ceil(self.chunk());
        let mut plan = Plan {
            strategy,
            dispatches: Vec::new(),
            sizes: self.sizes(),
            items_bytes: if items == Tensor::Items { bytes_of(shape.rows()) } else { 0 },
            work_bytes: bytes_of(WORK_HEADER_WORDS + if records > 1 { records * RECORD_WORDS } else { 0 }),
            has_status,
        };
        if bytes_of(shape.rows()) > self.facts.max_binding || u32::try_from(shape.rows()).is_err() {
            return Err(self.too_large(format!("a batch of {} rows", shape.rows())));
        }
        if self.kernel.denominator == Denominator::Counted {
            self.push_reduction(&mut plan, part!("skeleton/reduce_weights.wgsl"), true, items);
        }
        self.push_rows(&mut plan, items)?;
        if has_status || (reduced && self.wants(Want::LOSS)) {
            self.push_reduction(&mut plan, part!("skeleton/reduce_items.wgsl"), false, items);
        }
        Ok(plan)
    }

    fn too_large(&self, what: String) -> Error {
        Error::Unsupported {
            what,
            why: format!("the adapter binds at most {} bytes, and bounds loops", self.facts.max_binding),
            instead: "split the call into several",
        }
    }

    fn chunk(&self) -> usize {
        REDUCE_CHUNK.max(self.kernel.rows.rows().div_ceil(MAX_RECORDS))
    }

    fn sizes(&self) -> Vec<(Tensor, u64)> {
        let shape = self.kernel.rows;
        let (rows, elements) = (shape.rows(), shape.rows() * shape.classes);
        let reduced = self.kernel.reduction != Reduction::None;
        let of_loss = if reduced { 1 } else { rows };
        let target = if self.kernel.labels.is_some() { rows } else { elements };
        [
            (Tensor::Input, elements, true),
            (Tensor::Target, target, true),
            (Tensor::Weight, shape.classes, self.kernel.weight.is_some()),
            (Tensor::GradOutput, of_loss, self.problem.grad_output),
            (Tensor::Loss, of_loss, self.wants(Want::LOSS)),
            (Tensor::GradInput, elements, self.wants(Want::GRAD)),
            (Tensor::GradTarget, elements, self.wants(Want::GRAD_TARGET)),
        ]
        .into_iter()
        .filter(|&(_, _, used)| used)
        .map(|(tensor, count, _)| (tensor, bytes_of(count)))
        .collect()
    }

    /// A bind of all of `tensor`, or of nothing if the call does not have it.
    fn bind(&self, plan: &Plan, slot: u32, tensor: Tensor, written: bool) -> Bind {
        let size = match tensor {
            Tensor::Items => plan.items_bytes,
            Tensor::Work => plan.work_bytes,
            _ => plan.sizes.iter().find(|(t, _)| *t == tensor).map_or(0, |&(_, size)| size),
        };
        let tensor = if size == 0 { Tensor::Nothing } else { tensor };
        Bind { slot, tensor, written, offset: 0, size, element: 4 }
    }

    fn frame(&self) -> Frame {
        let shape = self.kernel.rows;
        let mut ignore = [0; 4];
        if let Some(labels) = &self.kernel.labels {
            for (place, slot) in ignore.iter_mut().enumerate() {
                *slot = labels.ignore.get(place).or(labels.ignore.first()).copied().unwrap_or(0);
            }
        }
        Frame {
            rows: 0,
            classes: shape.classes as u32,
            inner: shape.inner as u32,
            first_row: 0,
            grid_x: 1,
            chunk: self.chunk() as u32,
            item_count: shape.rows() as u32,
            denominator: match self.kernel.denominator {
                Denominator::Fixed(value) => value as f32,
                Denominator::Counted => 1.0,
            },
            empty: self.kernel.empty.to_bits(),
            zero: 0,
            spare: [0; 2],
            ignore,
        }
    }

    /// Constants that all programs of this call share.
    fn reduction_constants(&self) -> Vec<(&'static str, u32)> {
        vec![
            ("REDUCED", u32::from(self.kernel.reduction != Reduction::None)),
            ("COUNTED", u32::from(self.kernel.denominator == Denominator::Counted)),
        ]
    }

    fn ignore_constant(&self) -> (&'static str, u32) {
        ("HAS_IGNORE", u32::from(self.kernel.labels.as_ref().is_some_and(|labels| !labels.ignore.is_empty())))
    }

    fn push_rows(&self, plan: &mut Plan, items: Tensor) -> Result<(), Error> {
        let shape = self.kernel.rows;
        let strategy = plan.strategy.0;
        let sample = bytes_of(shape.classes * shape.inner);
        let per_band = outer_per_band(sample, self.facts)
            .ok_or_else(|| self.too_large(format!("a sample of {} x {} logits", shape.classes, shape.inner)))?;
        let vectors = shape.inner == 1 && shape.classes % 4 == 0;
        let (quads, quad) =
            if vectors { (part!("common/quads_vec4.wgsl"), 16) } else { (part!("common/quads_scalar.wgsl"), 4) };
        let mut constants = self.reduction_constants();
        constants.extend(strategy.constants());
        constants.extend(self.kernel.flags.iter().map(|&(name, on)| (name, u32::from(on))));
        constants.extend([
            self.ignore_constant(),
            ("HAS_GRAD_OUTPUT", u32::from(self.problem.grad_output)),
            ("WANT_GRAD", u32::from(self.wants(Want::GRAD))),
            ("WANT_GRAD_TARGET", u32::from(self.wants(Want::GRAD_TARGET))),
        ]);
        let parts = vec![
            self.kernel.source,
            part!("skeleton/rows.wgsl"),
            quads,
            strategy.part(),
            part!("common/labels.wgsl"),
            part!("common/math.wgsl"),
            part!("common/frame.wgsl"),
        ];
        let mut start = 0;
        while start < shape.outer && shape.inner > 0 {
            let outer = per_band.min(shape.outer - start);
            let rows = outer * shape.inner;
            let groups = rows.div_ceil((strategy.workgroup() / strategy.lanes()) as usize);
            let grid = self.grid(groups)?;
            let whole = |slot, tensor, written| self.bind(plan, slot, tensor, written);
            let band = |slot, tensor, written, element| {
                let all = Bind { element, ..self.bind(plan, slot, tensor, written) };
                match all.tensor {
                    Tensor::Nothing => all,
                    _ => Bind { offset: start as u64 * sample, size: outer as u64 * sample, ..all },
                }
            };
            let target = if self.kernel.labels.is_some() {
                whole(2, Tensor::Target, false)
            } else {
                band(2, Tensor::Target, false, 4)
            };
            let binds = vec![
                band(1, Tensor::Input, false, quad),
                target,
                whole(3, Tensor::Weight, false),
                whole(4, Tensor::GradOutput, false),
                band(5, Tensor::GradInput, true, quad),
                band(6, Tensor::GradTarget, true, 4),
                whole(7, items, true),
                whole(8, Tensor::Work, false),
            ];
            let frame =
                Frame { rows: rows as u32, first_row: (start * shape.inner) as u32, grid_x: grid[0], ..self.frame() };
            let program =
                Program { parts: parts.clone(), entry: "rows", constants: constants.clone(), storage: storage(&binds) };
            plan.dispatches.push(Dispatch { program, uniforms: uniforms(&frame, &self.kernel.params), grid, binds });
            start += outer;
        }
        Ok(())
    }

    /// The sum of the items' losses, or (`counting`) of their weights: one dispatch, or two if there are many items.
    fn push_reduction(&self, plan: &mut Plan, source: Part, counting: bool, items: Tensor) {
        let strategy = RowStrategy::for_reduction(self.facts);
        let values = if self.kernel.labels.is_some() { Tensor::Target } else { Tensor::Nothing };
        let program = |source: Part, binds: &[Bind]| {
            let mut constants = self.reduction_constants();
            constants.extend(strategy.constants());
            constants.push(("COUNTING", u32::from(counting)));
            constants.push(self.ignore_constant());
            if source == part!("skeleton/reduce_weights.wgsl") {
                constants.push(("HAS_WEIGHT", u32::from(self.kernel.weight.is_some())));
            }
            let parts = vec![
                source,
                part!("skeleton/reduce.wgsl"),
                strategy.part(),
                part!("common/labels.wgsl"),
                part!("common/math.wgsl"),
                part!("common/frame.wgsl"),
            ];
            Program { parts, entry: "reduce", constants, storage: storage(binds) }
        };
        let binds = vec![
            self.bind(plan, 1, values, false),
            self.bind(plan, 2, Tensor::Weight, false),
            self.bind(plan, 3, if counting { Tensor::Nothing } else { items }, false),
            self.bind(plan, 4, Tensor::Work, true),
            self.bind(plan, 5, if items == Tensor::Loss { Tensor::Nothing } else { Tensor::Loss }, true),
        ];
        let frame = self.frame();
        let records = (frame.item_count as usize).div_ceil(frame.chunk as usize);
        let mut push = |source, frame: &Frame, groups| {
            let dispatch = Dispatch {
                program: program(source, &binds),
                uniforms: uniforms(frame, &[0; 16]),
                grid: [groups, 1],
                binds: binds.clone(),
            };
            plan.dispatches.push(dispatch);
        };
        push(source, &frame, records.max(1) as u32);
        if records > 1 {
            let combine = Frame { item_count: records as u32, chunk: records as u32, ..frame };
            push(part!("skeleton/reduce_records.wgsl"), &combine, 1);
        }
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

fn storage(binds: &[Bind]) -> Vec<(u32, bool, u64)> {
    binds.iter().map(|bind| (bind.slot, bind.written, bind.element)).collect()
}

fn uniforms(frame: &Frame, params: &[u8]) -> Vec<u8> {
    [bytemuck::bytes_of(frame), params].concat()
}

/// Samples per dispatch such that each band of logits fits a binding and starts at an aligned offset.
fn outer_per_band(sample: u64, facts: &AdapterFacts) -> Option<usize> {
    if sample == 0 {
        return Some(usize::MAX);
    }
    let step = facts.offset_alignment / gcd(facts.offset_alignment, sample);
    // Element numbers in a band are 32 bits.
    let most = facts.max_binding.min(1 << 33) / sample;
    match most / step * step {
        // One sample needs no aligned successor only if the batch ends with it; keep the rule simple.
        0 => None,
        outer => usize::try_from(outer).ok(),
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl WeightSource {
    fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }
}
