//! One loss on one input: prepared, checked, then timed in turn with copies.

use deeploss::{
    AdapterFacts, Answer, Buffers, Context, Error, Loss, LossInfo, OwnedTarget, OwnedTensors, Plan, Prepared,
    RowStrategy, Target, Tensor, Want,
};
use ndarray::{ArrayD, Axis, Slice};
use wgpu::util::{BufferInitDescriptor, DeviceExt};

use crate::Outcome;
use crate::kernels::{Copy, HandWritten, VECTOR, check_copy};
use crate::report::{Block, FORCED, Row};
use crate::storage::Storage;
use crate::timing::{Bench, Subject};

const SEED: u64 = 1;

/// Who decides how rows are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// The crate's plan.
    Plan,
    Thread,
    Subgroup,
    Workgroup,
    Split,
}

impl Sharing {
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        match name {
            "plan" => Ok(Self::Plan),
            "thread" => Ok(Self::Thread),
            "subgroup" => Ok(Self::Subgroup),
            "workgroup" => Ok(Self::Workgroup),
            "split" => Ok(Self::Split),
            _ => Err(format!("a strategy is plan, thread, subgroup, workgroup or split, got `{name}`")),
        }
    }

    /// What the plan takes for long rows of a full batch.
    pub(crate) fn unsplit(facts: &AdapterFacts) -> Self {
        if facts.is_cpu && facts.subgroup.is_some_and(|(min, max)| min == max) {
            Self::Subgroup
        } else {
            Self::Workgroup
        }
    }

    fn strategy(self, facts: &AdapterFacts) -> Result<Option<RowStrategy>, Error> {
        let unsupported = |what: &str| Error::Unsupported {
            what: what.into(),
            why: "neither this version nor this adapter has it".into(),
            instead: "leave the choice to the plan",
        };
        match self {
            Self::Plan => Ok(None),
            Self::Thread => Ok(Some(RowStrategy::Thread)),
            Self::Subgroup => {
                let (lanes, _) = facts.subgroup.ok_or_else(|| unsupported("a subgroup per row"))?;
                Ok(Some(RowStrategy::Subgroup { lanes }))
            }
            Self::Workgroup => Ok(Some(RowStrategy::Workgroup { lanes: 256.min(facts.max_invocations) })),
            Self::Split => Err(unsupported("splitting rows")),
        }
    }
}

/// How one loss of a block runs.
pub(crate) type Way = (Storage, Sharing);

pub(crate) const MODES: [&str; 3] = ["loss", "grad", "both"];

pub(crate) fn want(mode: &str) -> Want {
    match mode {
        "loss" => Want::LOSS,
        "grad" => Want::GRAD,
        _ => Want::LOSS | Want::GRAD,
    }
}

/// Random tensors of typical values in which every row counts: an ignored one would cost nothing.
pub(crate) fn draw(loss: &dyn Loss, shape: [usize; 2]) -> OwnedTensors {
    let mut host = loss.sample(&shape, SEED);
    if let OwnedTarget::Indices(labels) = &mut host.target {
        let classes = shape[1] as i64;
        (0..).zip(labels.iter_mut()).filter(|(_, v)| loss.ignores(**v)).for_each(|(i, v)| *v = 7919 * i % classes);
    }
    host
}

fn stored(host: &OwnedTensors, storage: Storage) -> OwnedTensors {
    let mut host = host.clone();
    if storage != Storage::F32 {
        host.input.mapv_inplace(|v| storage.round(v));
        host.input2.iter_mut().for_each(|values| values.mapv_inplace(|v| storage.round(v)));
    }
    host
}

/// The variant that is measured: the first of the loss' row in the table.
pub(crate) fn first_variant(info: &LossInfo, classes: usize) -> Outcome<Box<dyn Loss>> {
    (info.variants)(classes).into_iter().next().ok_or_else(|| format!("{} has no variants", info.name).into())
}

/// What to measure on one shape.
pub(crate) struct Question<'a> {
    pub(crate) info: &'static LossInfo,
    pub(crate) shape: [usize; 2],
    pub(crate) ways: &'a [Way],
    pub(crate) modes: &'a [&'static str],
    /// The hand-written kernels too, where the loss is cross-entropy.
    pub(crate) rivals: bool,
}

impl Question<'_> {
    /// Checks everything, then times it in turn.
    pub(crate) fn measure(&self, bench: &Bench) -> Outcome<Block> {
        let Self { info, shape, .. } = *self;
        let name = |what: &str| format!("{what} of {} {shape:?}", info.name);
        let loss = first_variant(info, shape[1])?;
        let drawn = draw(loss.as_ref(), shape);
        let mut notes = Vec::new();
        let mut ready: Vec<Ready> = Vec::new();
        let mut rivals: Vec<(HandWritten, Row, f64)> = Vec::new();
        let mut reference: Option<(Storage, Answer)> = None;
        for &(storage, sharing) in self.ways {
            let host = stored(&drawn, storage);
            let mut case = match Ready::new(bench, loss.as_ref(), &host, (storage, sharing), self.modes) {
                Err(error) if is_unsupported(error.as_ref()) => {
                    notes.push(error.to_string());
                    continue;
                }
                other => other?,
            };
            if reference.as_ref().is_none_or(|(s, _)| *s != storage) {
                let answer = loss.evaluate_with(&Context::cpu(), &host.view(), Want::LOSS | Want::GRAD)?;
                reference = Some((storage, answer));
            }
            let Some((_, answer)) = &reference else { continue };
            case.check(bench, answer).map_err(|e| name(&e.to_string()))?;
            if ready.iter().all(|other| other.storage != storage) {
                case.add_copies(bench).map_err(|e| name(&e.to_string()))?;
            }
            if self.rivals && info.name == "cross_entropy" && storage == Storage::F32 && rivals.is_empty() {
                rivals = hand_written(bench, loss.as_ref(), &host, &case.resident, answer, shape)?;
            }
            notes.extend(case.note());
            ready.push(case);
        }
        drop((drawn, reference));

        let mut subjects = Vec::new();
        for case in &ready {
            subjects.extend(case.subjects(bench)?);
        }
        subjects.extend(rivals.iter().map(|(kernel, row, scale)| {
            Subject::calls(bench, row.clone(), move |encoder| kernel.record(encoder)).scaled(*scale)
        }));
        for case in &ready {
            for (row, copy) in &case.copies {
                subjects.push(Subject::calls(bench, row.clone(), move |encoder| copy.record(encoder)));
            }
        }
        let (rows, rounds) = bench.time_in_turn(subjects)?;
        Ok(Block { op: info.name.into(), shape, rounds, unit: "copy", notes, rows })
    }
}

pub(crate) fn is_unsupported(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref::<Error>(), Some(Error::Unsupported { .. }))
}

/// The kernels that cross-entropy is compared with, checked; and what their times are multiplied with.
fn hand_written(
    bench: &Bench,
    loss: &dyn Loss,
    host: &OwnedTensors,
    resident: &Resident,
    reference: &Answer,
    shape: [usize; 2],
) -> Outcome<Vec<(HandWritten, Row, f64)>> {
    let [n, c] = shape;
    let count = HandWritten::peer_rows(shape);
    let mut all = Vec::new();
    if let Some(kernel) = HandWritten::peer(bench, resident, count, c) {
        let few = first_rows(host, count);
        let reference = loss.evaluate_with(&Context::cpu(), &few.view(), Want::LOSS | Want::GRAD)?;
        kernel.check(bench, resident, &reference).map_err(|e| format!("peer {shape:?}: {e}"))?;
        let mut row = Row::new("peer", "both", "f32", 0);
        if count < n {
            row.strategy = format!("{count} rows scaled up");
        }
        all.push((kernel, row, n as f64 / count as f64));
    }
    for (mode, wants_grad) in [("loss", false), ("both", true)] {
        let Some(kernel) = HandWritten::fast(bench, resident, shape, wants_grad) else { continue };
        kernel.check(bench, resident, reference).map_err(|e| format!("fast {mode} {shape:?}: {e}"))?;
        all.push((kernel, Row::new("fast", mode, "f32", 0), 1.0));
    }
    let bytes = |tensor| resident.range(tensor).and_then(|range| range.size).map_or(0, u64::from);
    for (kernel, row, _) in &mut all {
        row.tensor_bytes = bytes(Tensor::Input) + bytes(Tensor::Target) + 4;
        if row.mode == "both" {
            row.tensor_bytes += bytes(Tensor::GradInput);
        }
        row.bytes = row.tensor_bytes;
        row.scratch_bytes = kernel.scratch_bytes * n as u64 / kernel.rows() as u64;
    }
    Ok(all)
}

fn first_rows(host: &OwnedTensors, count: usize) -> OwnedTensors {
    fn cut<T: Clone>(tensor: &ArrayD<T>, count: usize) -> ArrayD<T> {
        tensor.slice_axis(Axis(0), Slice::from(..count)).to_owned()
    }
    let target = match &host.target {
        OwnedTarget::Indices(labels) => OwnedTarget::Indices(cut(labels, count)),
        OwnedTarget::Values(values) => OwnedTarget::Values(cut(values, count)),
    };
    OwnedTensors::new(cut(&host.input, count), target)
}

/// One loss in one storage and strategy, with its tensors on the GPU.
struct Ready {
    storage: Storage,
    sharing: Sharing,
    prepared: Vec<(&'static str, Prepared)>,
    resident: Resident,
    /// By the allocator, of the tensors and of the last mode.
    allocated: Option<u64>,
    copies: Vec<(Row, crate::kernels::Step)>,
}

impl Ready {
    fn new(
        bench: &Bench,
        loss: &dyn Loss,
        host: &OwnedTensors,
        (storage, sharing): Way,
        modes: &[&'static str],
    ) -> Outcome<Self> {
        let facts = bench.ctx.facts().ok_or("a context without a device")?;
        let mut prepared = Vec::new();
        let mut before = None;
        for &mode in modes {
            before = bench.allocated()?;
            let problem = storage.ask(host.view().problem(want(mode)))?;
            prepared.push((mode, loss.prepare_with(&bench.ctx, &problem, sharing.strategy(facts)?)?));
        }
        // The last mode has every output.
        let (_, last) = prepared.last().ok_or("no modes")?;
        let resident = Resident::upload(bench, loss, host, last.plan(), storage);
        let allocated = before.zip(bench.allocated()?).map(|(before, after)| after.saturating_sub(before));
        Ok(Self { storage, sharing, prepared, resident, allocated, copies: Vec::new() })
    }

    /// Which strategy the plan took, and why.
    fn note(&self) -> Option<String> {
        let (_, last) = self.prepared.last()?;
        let (strategy, reason) = last.plan().strategy;
        Some(format!("{}: {} ({reason})", self.storage.name(), short(strategy)))
    }

    /// Every mode agrees with the reference.
    fn check(&self, bench: &Bench, reference: &Answer) -> Outcome<()> {
        for (mode, prepared) in &self.prepared {
            let outputs = [(Tensor::Loss, &reference.loss), (Tensor::GradInput, &reference.grad_input)];
            let sizes = &prepared.plan().sizes;
            for (tensor, expected) in outputs.into_iter().filter(|(t, _)| sizes.iter().any(|(s, _)| s == t)) {
                self.check_output(bench, prepared, tensor, expected.as_ref())
                    .map_err(|e| format!("{}, {mode}, {}: {e}", self.storage.name(), tensor.name()))?;
            }
        }
        Ok(())
    }

    fn check_output(
        &self,
        bench: &Bench,
        prepared: &Prepared,
        tensor: Tensor,
        expected: Option<&ArrayD<f32>>,
    ) -> Outcome<()> {
        let (Some(range), Some(expected)) = (self.resident.range(tensor), expected) else {
            return Err("no reference".into());
        };
        let mut encoder = bench.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        // Whatever an earlier call left there must not pass for this call's result.
        encoder.clear_buffer(range.buffer, 0, None);
        prepared.record(&mut encoder, &self.resident.buffers())?;
        let readback = prepared.read(&mut encoder, &[range]);
        bench.queue.submit([encoder.finish()]);
        let bytes = readback.wait()?.pop().unwrap_or_default();
        let storage = self.storage.of(tensor);
        let mut got = storage.decode(&bytes);
        got.truncate(expected.len());
        let expected: Vec<f32> = expected.iter().copied().collect();
        Ok(same_values(&got, &expected, |largest| storage.tolerance(largest))?)
    }

    /// Copies of the input over the gradient.
    fn add_copies(&mut self, bench: &Bench) -> Outcome<()> {
        let (Some(input), Some(scratch)) = (self.resident.get(Tensor::Input), self.resident.get(Tensor::GradInput))
        else {
            return Err("no input or no gradient".into());
        };
        let expected = bench.read(input, |_| {})?;
        for copy in Copy::all(input.size()) {
            let step = copy.bind(bench, input, scratch);
            check_copy(bench, &step, &expected, scratch).map_err(|e| format!("{}: {e}", copy.name))?;
            let mut row = Row::new("copy", copy.name, self.storage.name(), 2 * input.size()).baseline();
            row.tensor_bytes = row.bytes;
            self.copies.push((row, step));
        }
        Ok(())
    }

    fn subjects<'a>(&'a self, bench: &'a Bench) -> Outcome<Vec<Subject<'a>>> {
        let subject = |(index, (mode, prepared)): (usize, &'a (&'static str, Prepared))| {
            let bound = prepared.bind(&self.resident.buffers())?;
            let bytes = prepared.plan().sizes.iter().map(|&(_, size)| size).sum();
            let mut row = Row::new("deeploss", mode, self.storage.name(), bytes);
            row.tensor_bytes = bytes;
            row.scratch_bytes = prepared.scratch_bytes();
            row.allocated_bytes = self.allocated.filter(|_| index + 1 == self.prepared.len());
            row.strategy = short(prepared.plan().strategy.0);
            if self.sharing != Sharing::Plan {
                row.strategy.push_str(FORCED);
            }
            Ok(Subject::calls(bench, row, move |encoder| bound.record(encoder)))
        };
        self.prepared.iter().enumerate().map(subject).collect()
    }
}

/// `Subgroup { lanes: 8 }` as `subgroup 8`.
fn short(strategy: RowStrategy) -> String {
    let text = format!("{strategy:?}").to_lowercase().replace("lanes:", "");
    text.replace(['{', '}', ',', ':'], "").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The tensors of one loss on the GPU, where a caller would have them.
pub(crate) struct Resident {
    buffers: Vec<(Tensor, u64, wgpu::Buffer)>,
}

impl Resident {
    /// Inputs with the host's values, outputs empty. A loss with more tensors needs a line here and one in `buffers`.
    pub(crate) fn upload(bench: &Bench, loss: &dyn Loss, host: &OwnedTensors, plan: &Plan, storage: Storage) -> Self {
        let host = host.view();
        // An ignored index may exceed the 32 bits of a label; then the lowest one stands for it.
        let label = |v: i64| if loss.ignores(v) { i32::try_from(v).unwrap_or(i32::MIN) } else { v as i32 };
        let contents = |tensor| {
            let floats = |values: &ndarray::ArrayViewD<'_, f32>| storage.of(tensor).encode(values);
            match (tensor, &host.target) {
                (Tensor::Input, _) => Some(floats(&host.input)),
                (Tensor::Input2, _) => host.input2.as_ref().map(floats),
                (Tensor::Target, Target::Values(values)) => Some(floats(values)),
                (Tensor::Target, Target::Indices(labels)) => {
                    Some(labels.iter().flat_map(|&v| label(v).to_ne_bytes()).collect())
                }
                (Tensor::IgnoreMask, _) => {
                    let mask = host.ignore_mask.as_ref();
                    mask.map(|mask| mask.iter().flat_map(|&ignored| u32::from(ignored).to_ne_bytes()).collect())
                }
                _ => tensor.is_output().then(Vec::new),
            }
        };
        // Weights that are options of the loss are its own affair; of anything else that is left out, `bind` complains.
        let buffers = plan.sizes.iter().filter_map(|&(tensor, size)| {
            let mut bytes = contents(tensor)?;
            // Whole vectors, for the copies.
            bytes.resize(size.next_multiple_of(VECTOR) as usize, 0);
            let buffer = bench.device.create_buffer_init(&BufferInitDescriptor {
                label: Some(tensor.name()),
                contents: &bytes,
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            });
            Some((tensor, size, buffer))
        });
        Self { buffers: buffers.collect() }
    }

    pub(crate) fn get(&self, tensor: Tensor) -> Option<&wgpu::Buffer> {
        self.buffers.iter().find(|(t, _, _)| *t == tensor).map(|(_, _, buffer)| buffer)
    }

    /// Without the padding.
    fn range(&self, tensor: Tensor) -> Option<wgpu::BufferBinding<'_>> {
        let (_, size, buffer) = self.buffers.iter().find(|(t, _, _)| *t == tensor)?;
        Some(wgpu::BufferBinding { buffer, offset: 0, size: wgpu::BufferSize::new(*size) })
    }

    pub(crate) fn buffers(&self) -> Buffers<'_> {
        Buffers {
            input: self.range(Tensor::Input),
            input2: self.range(Tensor::Input2),
            target: self.range(Tensor::Target),
            ignore_mask: self.range(Tensor::IgnoreMask),
            loss: self.range(Tensor::Loss),
            grad_input: self.range(Tensor::GradInput),
            ..Buffers::default()
        }
    }
}

/// Differences within what `tolerance` makes of the largest finite magnitude; NaN and infinities in the same places.
pub(crate) fn same_values(got: &[f32], expected: &[f32], tolerance: impl Fn(f32) -> f32) -> Result<(), String> {
    if got.len() != expected.len() {
        return Err(format!("{} values instead of {}", got.len(), expected.len()));
    }
    let largest = expected.iter().filter(|v| v.is_finite()).fold(0.0_f32, |m, v| m.max(v.abs()));
    let allowed = tolerance(largest);
    let same = |g: f32, e: f32| g == e || (g.is_nan() && e.is_nan()) || (g - e).abs() <= allowed;
    match got.iter().zip(expected).position(|(&g, &e)| !same(g, e)) {
        None => Ok(()),
        Some(at) => Err(format!(
            "wrong at element {at}: got {}, the reference says {} (largest magnitude {largest})",
            got[at], expected[at]
        )),
    }
}
