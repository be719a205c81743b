//! What will run: dispatches, parameter bytes, buffer sizes. Pure data, made without a GPU.
//!
//! A call is at most: the sum that counts the denominator (`reduce`), the kernel of the loss (`rows`, once per band of rows that
//! fits a binding, or `items`), and the sum of the losses (`reduce`) or of the gradients of broadcast tensors (`items`). How rows are
//! mapped to invocations is chosen in `strategy`.

mod items;
mod reduce;
mod rows;
pub(crate) mod strategy;
pub(crate) mod tensor_id;
#[cfg(all(test, feature = "host"))]
mod tests;
pub(crate) mod uniforms;

use std::fmt;
use std::ops::Range;

use crate::adapter::{AdapterFacts, Proven};
use crate::error::Error;
use crate::lowered::{Checked, Denominator, Layout, Lowered};
use crate::problem::{Dtype, Problem, RowShape, Want};
use crate::wgsl::variant::{Exp, Group, Kernel, Stored, Words};

use reduce::Summed;
use reduce::{STATUS_AT, STATUS_WORDS};
pub(crate) use reduce::{SUM_WORDS, WORK_HEADER_WORDS};
pub use strategy::RowStrategy;
use strategy::{Choice, Demand, INDEPENDENT};
pub use tensor_id::TensorId;
pub use uniforms::DispatchParams;

/// A byte range of a tensor at a binding of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind {
    /// Binding number.
    pub slot: u32,
    /// The tensor.
    pub tensor: TensorId,
    /// Whether the kernel may write it.
    pub written: bool,
    /// First byte within the tensor.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes of one element of the array that the kernel declares.
    pub stride: u64,
}

/// One dispatch.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispatch {
    /// The kernel.
    pub kernel: Kernel,
    /// Bytes of its uniform buffer.
    pub uniforms: Vec<u8>,
    /// Workgroups.
    pub grid: [u32; 2],
    /// Storage bindings.
    pub binds: Vec<Bind>,
}

impl Dispatch {
    /// What the kernel is told.
    #[must_use]
    pub fn params(&self) -> DispatchParams {
        bytemuck::pod_read_unaligned(&self.uniforms[..size_of::<DispatchParams>()])
    }
}

/// What a prepared call runs, and why. Printed for people: the strategy with its reason, what else could run, storage types, what is relied on,
/// dispatches, scratch.
///
/// ```
/// # #[cfg(feature = "host")] {
/// use deeploss::{AdapterFacts, CrossEntropy, Loss, Plan, Problem};
///
/// let problem = Problem::rows(4096, 1000);
/// let lowered = CrossEntropy::new().lower(&problem)?;
/// let plan = Plan::new(&lowered, &problem, &AdapterFacts::default(), None)?;
/// assert!(plan.to_string().starts_with("strategy   lanes:32x4 (the row's lanes hold it in registers"));
/// # }
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    choice: Choice,
    others: Vec<Choice>,
    storage: [Dtype; 2],
    in_place: bool,
    dispatches: Vec<Dispatch>,
    sizes: Vec<(TensorId, u64)>,
    scratch: Vec<(TensorId, u64)>,
    checked: Option<Checked>,
}

impl Plan {
    /// Plans one call for an adapter; with a forced strategy for tests and measurements.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if one sample does not fit a binding, or the forced strategy does not serve.
    #[doc(hidden)]
    pub fn new(
        lowered: &Lowered,
        problem: &Problem,
        facts: &AdapterFacts,
        forced: Option<RowStrategy>,
    ) -> Result<Self, Error> {
        let forced = forced.map(|strategy| Choice { strategy, reason: "forced by the caller" });
        Planner { lowered, problem, facts }.plan(forced)
    }

    /// [`Plan::new`] with the strategy that a tuning names.
    pub(crate) fn tuned(
        lowered: &Lowered,
        problem: &Problem,
        facts: &AdapterFacts,
        strategy: RowStrategy,
    ) -> Result<Self, Error> {
        Planner { lowered, problem, facts }.plan(Some(Choice { strategy, reason: "chosen by the tuning" }))
    }

    /// How rows (or, of element-wise losses, chunks of items) are mapped to invocations.
    #[must_use]
    pub fn strategy(&self) -> RowStrategy {
        self.choice.strategy
    }

    /// Why this strategy.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.choice.reason
    }

    /// In order.
    #[doc(hidden)]
    #[must_use]
    pub fn dispatches(&self) -> &[Dispatch] {
        &self.dispatches
    }

    /// Bytes of each caller tensor that takes part.
    #[doc(hidden)]
    #[must_use]
    pub fn sizes(&self) -> &[(TensorId, u64)] {
        &self.sizes
    }

    /// Bytes of each scratch tensor.
    #[doc(hidden)]
    #[must_use]
    pub fn scratch(&self) -> &[(TensorId, u64)] {
        &self.scratch
    }

    /// Whether a caller's tensor takes part.
    pub(crate) fn takes(&self, tensor: TensorId) -> bool {
        tensor_size(&self.sizes, tensor).is_some()
    }

    /// The gradient of the input overwrites it.
    pub(crate) fn is_in_place(&self) -> bool {
        self.in_place
    }

    /// Whether the call writes a caller's tensor.
    pub(crate) fn writes(&self, tensor: TensorId) -> bool {
        tensor.is_output() || (self.in_place && tensor == TensorId::Input)
    }

    /// Bytes of a tensor; 0 if it takes no part.
    #[doc(hidden)]
    #[must_use]
    pub fn size_of(&self, tensor: TensorId) -> u64 {
        tensor_size(&self.sizes, tensor).or_else(|| tensor_size(&self.scratch, tensor)).unwrap_or(0)
    }

    /// The tensor that the last dispatch checked: it leaves a status in these bytes of [`TensorId::Work`].
    #[doc(hidden)]
    #[must_use]
    pub fn checked(&self) -> Option<(Checked, Range<u64>)> {
        self.checked.map(|checked| (checked, 4 * STATUS_AT..4 * (STATUS_AT + STATUS_WORDS)))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "strategy   {}", self.choice)?;
        for other in &self.others {
            writeln!(f, "not taken  {other}")?;
        }
        let [input, gradient] = self.storage;
        if self.in_place {
            writeln!(f, "storage    input {input:?}, overwritten by its gradient")?;
        } else {
            writeln!(f, "storage    input {input:?}, gradient {gradient:?}")?;
        }
        let relied =
            self.dispatches.iter().map(|dispatch| dispatch.kernel.relies_on()).fold(Proven::default(), Proven::and);
        writeln!(f, "relies on  {relied} beyond WGSL's promises")?;
        for Dispatch { kernel, grid: [x, y], binds, .. } in &self.dispatches {
            let bytes: u64 = binds.iter().map(|bind| bind.size).sum();
            writeln!(f, "dispatch   {}, {x} x {y} workgroups, {bytes} bytes bound", kernel.label())?;
        }
        write!(f, "scratch    {} bytes", self.scratch.iter().map(|(_, size)| size).sum::<u64>())
    }
}

/// Loops over items count in 32 bits and may step past the last item.
const MAX_ITEMS: usize = 1 << 31;

fn tensor_size(sizes: &[(TensorId, u64)], tensor: TensorId) -> Option<u64> {
    sizes.iter().find(|(id, _)| *id == tensor).map(|&(_, size)| size)
}

/// What a plan is made from.
struct Planner<'a> {
    lowered: &'a Lowered,
    problem: &'a Problem,
    facts: &'a AdapterFacts,
}

/// A plan in the making.
struct Pieces {
    sizes: Vec<(TensorId, u64)>,
    scratch: Vec<(TensorId, u64)>,
    dispatches: Vec<Dispatch>,
}

impl Pieces {
    /// Adds a scratch tensor, unless it is there already.
    fn scratch(&mut self, tensor: TensorId, size: u64) {
        if tensor_size(&self.scratch, tensor).is_none() {
            self.scratch.push((tensor, size));
        }
    }
}

impl Planner<'_> {
    fn plan(&self, given: Option<Choice>) -> Result<Plan, Error> {
        self.check_device()?;
        let items = self.lowered.items();
        if Dtype::F32.bytes(items) > self.facts.max_binding || items > MAX_ITEMS {
            return Err(self.too_large(format!("a batch of {items} items")));
        }
        let (choice, mut others) = match &self.lowered.layout {
            Layout::Rows(rows) => {
                let demand = Demand::of(rows, self.problem);
                (self.choose(demand, given)?, RowStrategy::candidates(self.facts, demand))
            }
            Layout::Items(_) => (RowStrategy::for_items(self.facts), Vec::new()),
        };
        others.retain(|other| other.strategy != choice.strategy);
        let strategy = choice.strategy;
        let mut pieces = Pieces { sizes: self.sizes(), scratch: Vec::new(), dispatches: Vec::new() };
        let sums = match &self.lowered.layout {
            Layout::Rows(_) => items.div_ceil(self.reduction_chunk()),
            Layout::Items(_) => items.div_ceil(self.item_chunk(strategy)).max(items.div_ceil(self.reduction_chunk())),
        };
        pieces.scratch(TensorId::Work, Dtype::F32.bytes(WORK_HEADER_WORDS + sums.max(1) * SUM_WORDS));
        let counts_within = matches!(&self.lowered.layout, Layout::Rows(rows) if self.is_small(rows, strategy));
        if self.lowered.denominator == Denominator::Counted && !counts_within {
            self.push_reduction(&mut pieces, Summed::Denominator)?;
        }
        match &self.lowered.layout {
            Layout::Rows(rows) => self.push_rows(&mut pieces, rows, strategy)?,
            Layout::Items(layout) => self.push_items(&mut pieces, layout, strategy)?,
        }
        let Pieces { sizes, scratch, dispatches } = pieces;
        for &(tensor, size) in sizes.iter().chain(&scratch) {
            if size > self.facts.max_buffer {
                return Err(Error::Unsupported {
                    what: format!("`{}` of {size} bytes", tensor.name()),
                    why: format!("the device's buffers have at most {} bytes", self.facts.max_buffer),
                    instead: "request a device with a higher `max_buffer_size`, or split the batch into several calls",
                });
            }
        }
        Ok(Plan {
            choice,
            others,
            storage: [self.problem.input_dtype, self.problem.grad_dtype],
            in_place: self.problem.grad_in_place,
            dispatches,
            sizes,
            scratch,
            checked: self.checked(),
        })
    }

    fn choose(&self, demand: Demand, given: Option<Choice>) -> Result<Choice, Error> {
        let choice = given.unwrap_or_else(|| RowStrategy::choose(self.facts, demand));
        if choice.strategy.runs(self.facts, demand) {
            return Ok(choice);
        }
        Err(Error::Unsupported {
            what: format!("{:?} for rows of {} classes", choice.strategy, demand.shape.classes),
            why: "the adapter lacks what it needs, or one invocation would loop too often".into(),
            instead: if given.is_some() {
                "leave the choice to the plan, or take another strategy"
            } else {
                "use another adapter, or host arrays with `Context::cpu()`"
            },
        })
    }

    /// What every kernel needs of a device, and any has that WebGPU describes.
    fn check_device(&self) -> Result<(), Error> {
        let facts = self.facts;
        let has_reductions = RowStrategy::has_reductions(facts);
        if facts.max_invocations >= INDEPENDENT && facts.max_workgroups > 0 && has_reductions {
            return Ok(());
        }
        Err(Error::Unsupported {
            what: format!("a device with workgroups of {} invocations", facts.max_invocations),
            why: format!(
                "kernels take {INDEPENDENT} of them, {} bytes of workgroup memory are too few, or there are no workgroups",
                facts.max_workgroup_memory
            ),
            instead: "request a device with WebGPU's default limits",
        })
    }

    fn wants(&self, want: Want) -> bool {
        self.problem.want.contains(want)
    }

    /// The caller's tensor that the gradient of the input is written to.
    fn grad_tensor(&self) -> TensorId {
        if self.problem.grad_in_place { TensorId::Input } else { TensorId::GradInput }
    }

    fn checked(&self) -> Option<Checked> {
        match self.lowered.checked {
            Some(Checked::Input) if self.problem.grad_in_place => Some(Checked::Overwritten),
            checked => checked,
        }
    }

    fn exp(&self) -> Exp {
        match self.facts.proven {
            Proven { exp2: true, fma: true, .. } => Exp::Proven,
            _ => Exp::Careful,
        }
    }

    /// How the input is read.
    fn input(&self) -> Stored {
        Stored::new(self.problem.input_dtype, self.facts.proven.unpack_f16)
    }

    /// How elements of this type are written.
    fn written(&self, dtype: Dtype) -> Stored {
        Stored::new(dtype, self.facts.proven.pack_f16)
    }

    fn words(&self) -> Words {
        if self.facts.wide_words() { Words::W64 } else { Words::W32 }
    }

    /// The lanes that sum over items.
    fn reduction_group(&self) -> Group {
        RowStrategy::reduction_group(self.facts)
    }

    fn too_large(&self, what: String) -> Error {
        Error::Unsupported {
            what,
            why: format!("the device binds at most {} bytes at once", self.facts.max_binding),
            instead: "request a device with a higher `max_storage_buffer_binding_size`, or split the call into several",
        }
    }

    /// Bytes of the caller's tensors that take part.
    fn sizes(&self) -> Vec<(TensorId, u64)> {
        let (lowered, items) = (self.lowered, self.lowered.items());
        let of_loss = if lowered.is_reduced() { 1 } else { items };
        let input = self.problem.shape.iter().product();
        let (classes, pos_weight, second, mask, sample_weight) = match &lowered.layout {
            Layout::Rows(rows) => (Some(rows.shape), None, None, rows.mask, rows.sample_weight),
            Layout::Items(layout) => {
                let shape = &layout.broadcast;
                (None, shape.pos_weight.as_ref(), shape.second.as_ref(), layout.mask, false)
            }
        };
        let weight = match (&lowered.layout, classes) {
            (Layout::Items(layout), _) => layout.broadcast.weight.as_ref().map_or(0, |weight| weight.len()),
            (Layout::Rows(rows), _) if rows.row_weights => input,
            (_, Some(RowShape { classes, .. })) => classes,
            (_, None) => 0,
        };
        let second = second.map(|second| second.len());
        let count = |tensor| match tensor {
            TensorId::Input => Some(input),
            TensorId::Input2 => second.filter(|_| !mask),
            TensorId::Target => Some(lowered.target_len()),
            TensorId::Weight => lowered.weight.is_given().then_some(weight),
            TensorId::PosWeight => pos_weight.map(|weight| weight.len()),
            TensorId::IgnoreMask => mask.then_some(items),
            TensorId::SampleWeight => sample_weight.then_some(items),
            TensorId::GradOutput => self.problem.grad_output.then_some(of_loss),
            TensorId::Loss => self.wants(Want::LOSS).then_some(of_loss),
            TensorId::GradInput => (self.wants(Want::GRAD) && !self.problem.grad_in_place).then_some(input),
            TensorId::GradInput2 => second.filter(|_| self.wants(Want::GRAD_INPUT2)),
            TensorId::GradTarget => self.wants(Want::GRAD_TARGET).then(|| lowered.target_len()),
            TensorId::Stats => self.wants(Want::STATS).then_some(4 * items),
            _ => None,
        };
        let sized = |&tensor: &TensorId| Some((tensor, self.dtype_of(tensor).bytes(count(tensor)?)));
        TensorId::OF_CALLER.iter().filter_map(sized).collect()
    }

    /// How a tensor is stored; labels and masks have four bytes too.
    fn dtype_of(&self, tensor: TensorId) -> Dtype {
        match tensor {
            TensorId::Input | TensorId::InputCopy => self.problem.input_dtype,
            TensorId::GradInput => self.problem.grad_dtype,
            _ => Dtype::F32,
        }
    }

    /// Adds a dispatch. What its kernel declares is bound: `tensor` says which tensor a variable is, `range` which bytes of it, given
    /// its size and the stride of the array.
    fn push(
        &self,
        pieces: &mut Pieces,
        kernel: Kernel,
        uniforms: Vec<u8>,
        grid: [u32; 2],
        tensor: impl Fn(&str) -> Option<TensorId>,
        range: impl Fn(TensorId, u64, u64) -> Range<u64>,
    ) -> Result<(), Error> {
        let mut binds = Vec::new();
        for binding in kernel.bindings() {
            let bound = tensor(binding.name).and_then(|tensor| {
                let size = tensor_size(&pieces.sizes, tensor).or_else(|| tensor_size(&pieces.scratch, tensor))?;
                Some((tensor, size))
            });
            // Which files are linked follows from the same facts as which tensors there are: tests go through all of them.
            let Some((tensor, size)) = bound else {
                debug_assert!(false, "{}: nothing to bind to `{}`", kernel.label(), binding.name);
                continue;
            };
            let Range { start, end } = range(tensor, size, binding.stride);
            let size = end - start;
            if size > self.facts.max_binding {
                return Err(self.too_large(format!("a binding of {size} bytes for `{}`", tensor.name())));
            }
            let (slot, written, stride) = (binding.slot, binding.written, binding.stride);
            binds.push(Bind { slot, tensor, written, offset: start, size, stride });
        }
        if binds.len() > self.facts.max_storage_buffers as usize {
            return Err(Error::Unsupported {
                what: format!("a call with {} tensors", binds.len()),
                why: format!("the device binds {} storage buffers in a stage", self.facts.max_storage_buffers),
                instead: "request a device with a higher `max_storage_buffers_per_shader_stage`, or leave out mask, weights per row or statistics",
            });
        }
        pieces.dispatches.push(Dispatch { kernel, uniforms, grid, binds });
        Ok(())
    }

    /// Workgroups along x and y.
    fn grid(&self, groups: usize) -> Result<[u32; 2], Error> {
        let most = self.facts.max_workgroups as usize;
        let y = groups.div_ceil(most).max(1);
        // As few workgroups without work as can be: even those take time.
        let x = groups.div_ceil(y).max(1);
        if y > most {
            return Err(self.too_large(format!("{groups} workgroups")));
        }
        Ok([x as u32, y as u32])
    }
}
