//! One loss on one input: prepared, checked, then timed in turn with copies.

use deeploss::internals::{OwnedTensors, TensorId};
use deeploss::{Context, Error, Evaluate, Loss, LossInfo, Output, Prepared, Want};
use ndarray::ArrayD;

use crate::check::same_values;
use crate::choice::{Choice, Way, short, want};
use crate::inputs::{draw, first_rows, first_variant, stored};
use crate::kernels::{Copy, HandWritten, Step, check_copy};
use crate::outcome::Outcome;
use crate::report::{Block, FORCED, Row};
use crate::resident::Resident;
use crate::storage::Storage;
use crate::timing::{Bench, Subject};

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
        let mut reference: Option<(Storage, Output)> = None;
        for &(storage, choice) in self.ways {
            let host = stored(&drawn, storage);
            let mut case = match Ready::new(bench, loss.as_ref(), &host, (storage, choice), self.modes) {
                Err(error) if is_unsupported(error.as_ref()) => {
                    notes.push(error.to_string());
                    continue;
                }
                other => other?,
            };
            if reference.as_ref().is_none_or(|(s, _)| *s != storage) {
                let output = loss.evaluate(&Context::cpu(), &host.view().wants(Want::LOSS | Want::GRAD))?;
                reference = Some((storage, output));
            }
            let Some((_, output)) = &reference else { continue };
            case.check(bench, output).map_err(|e| name(&e.to_string()))?;
            if ready.iter().all(|other| other.storage != storage) {
                case.add_copies(bench).map_err(|e| name(&e.to_string()))?;
            }
            if self.rivals && info.name == "cross_entropy" && storage == Storage::F32 && rivals.is_empty() {
                rivals = hand_written(bench, loss.as_ref(), &host, &case.resident, output, shape)?;
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

fn is_unsupported(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref::<Error>(), Some(Error::Unsupported { .. }))
}

/// The kernels that cross-entropy is compared with, checked; and what their times are multiplied with.
fn hand_written(
    bench: &Bench,
    loss: &dyn Loss,
    host: &OwnedTensors,
    resident: &Resident,
    reference: &Output,
    shape: [usize; 2],
) -> Outcome<Vec<(HandWritten, Row, f64)>> {
    let [n, c] = shape;
    let count = HandWritten::peer_rows(shape);
    let mut all = Vec::new();
    if let Some(kernel) = HandWritten::peer(bench, resident, count, c) {
        let first = first_rows(host, count);
        let reference = loss.evaluate(&Context::cpu(), &first.view().wants(Want::LOSS | Want::GRAD))?;
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
        row.tensor_bytes = bytes(TensorId::Input) + bytes(TensorId::Target) + 4;
        if row.mode == "both" {
            row.tensor_bytes += bytes(TensorId::GradInput);
        }
        row.bytes = row.tensor_bytes;
        row.scratch_bytes = kernel.scratch_bytes * n as u64 / kernel.rows() as u64;
    }
    Ok(all)
}

/// One loss in one storage and strategy, with its tensors on the GPU.
struct Ready {
    storage: Storage,
    choice: Choice,
    prepared: Vec<(&'static str, Prepared)>,
    resident: Resident,
    /// By the allocator, of the tensors and of the last mode.
    allocated: Option<u64>,
    copies: Vec<(Row, Step)>,
}

impl Ready {
    fn new(
        bench: &Bench,
        loss: &dyn Loss,
        host: &OwnedTensors,
        (storage, choice): Way,
        modes: &[&'static str],
    ) -> Outcome<Self> {
        let facts = bench.ctx.facts().ok_or("a context without a device")?;
        let mut prepared = Vec::new();
        let mut before = None;
        for &mode in modes {
            before = bench.allocated()?;
            let problem = storage.ask(host.view().wants(want(mode)).problem());
            prepared.push((mode, loss.prepare_with(&bench.ctx, &problem, choice.strategy(facts)?)?));
        }
        // The last mode has every output.
        let (_, last) = prepared.last().ok_or("no modes")?;
        let resident = Resident::upload(bench, loss, host, last.plan(), storage);
        let allocated = before.zip(bench.allocated()?).map(|(before, after)| after.saturating_sub(before));
        Ok(Self { storage, choice, prepared, resident, allocated, copies: Vec::new() })
    }

    /// Which strategy the plan took, and why.
    fn note(&self) -> Option<String> {
        let (_, last) = self.prepared.last()?;
        let (strategy, reason) = (last.plan().strategy(), last.plan().reason());
        Some(format!("{}: {} ({reason})", self.storage.name(), short(strategy)))
    }

    /// Every mode agrees with the reference.
    fn check(&self, bench: &Bench, reference: &Output) -> Outcome<()> {
        for (mode, prepared) in &self.prepared {
            let outputs = [(TensorId::Loss, &reference.loss), (TensorId::GradInput, &reference.grad_input)];
            let sizes = prepared.plan().sizes();
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
        tensor: TensorId,
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
        let (Some(input), Some(scratch)) = (self.resident.get(TensorId::Input), self.resident.get(TensorId::GradInput))
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
            let bytes = prepared.plan().sizes().iter().map(|&(_, size)| size).sum();
            let mut row = Row::new("deeploss", mode, self.storage.name(), bytes);
            row.tensor_bytes = bytes;
            row.scratch_bytes = prepared.scratch_bytes();
            row.allocated_bytes = self.allocated.filter(|_| index + 1 == self.prepared.len());
            row.strategy = short(prepared.plan().strategy());
            if self.choice != Choice::Plan {
                row.strategy.push_str(FORCED);
            }
            Ok(Subject::calls(bench, row, move |encoder| bound.record(encoder)))
        };
        self.prepared.iter().enumerate().map(subject).collect()
    }
}
