//! One loss on one input: prepared, checked, then timed in turn with copies.

use std::ops::Range;

use deeploss::internals::{Kernel, TensorId};
use deeploss::{Error, Evaluate, Loss, LossInfo, Prepared, RowStrategy};

use crate::choice::{KERNEL, Way};
use crate::inputs::{Expected, Inputs, first_variant};
use crate::kernels::{Copy, HandWritten, Step, check_copy};
use crate::outcome::Outcome;
use crate::report::{Block, DISPATCH, FORCED, Row};
use crate::resident::Resident;
use crate::storage::Storage;
use crate::timing::{Bench, Subject, time_in_turn};

/// What to measure on one shape.
pub(crate) struct Question<'a> {
    pub(crate) info: &'static LossInfo,
    pub(crate) shape: [usize; 2],
    pub(crate) ways: &'a [Way],
    pub(crate) modes: &'a [&'static str],
    /// The hand-written kernels too, where the loss is cross-entropy.
    pub(crate) rivals: bool,
    /// Each dispatch of every call too.
    pub(crate) profile: bool,
}

impl Question<'_> {
    /// Checks everything, then times it in turn.
    pub(crate) fn measure(&self, bench: &Bench) -> Outcome<Block> {
        let Self { info, shape, .. } = *self;
        let name = |what: &str| format!("{what} of {} {shape:?}", info.name);
        let loss = first_variant(info, shape[1])?;
        let drawn = Inputs::draw(loss.as_ref(), shape);
        let mut notes = Vec::new();
        let mut ready: Vec<Ready> = Vec::new();
        let mut rivals: Vec<(HandWritten, Row, f64)> = Vec::new();
        let mut reference: Option<(Storage, Expected)> = None;
        for &(storage, strategy) in self.ways {
            let inputs = drawn.stored(storage);
            let mut case = match Ready::new(bench, loss.as_ref(), &inputs, (storage, strategy), self.modes) {
                Err(error) if is_unsupported(error.as_ref()) => {
                    notes.push(error.to_string());
                    continue;
                }
                other => other?,
            };
            if reference.as_ref().is_none_or(|(s, _)| *s != storage) {
                reference = Some((storage, inputs.expected(loss.as_ref())?));
            }
            let Some((_, expected)) = &reference else { continue };
            case.check(bench, &inputs, expected).map_err(|e| name(&e.to_string()))?;
            if ready.iter().all(|other| other.storage != storage) {
                case.add_copies(bench, &inputs).map_err(|e| name(&e.to_string()))?;
            }
            if self.rivals && info.name == "cross_entropy" && storage == Storage::F32 && rivals.is_empty() {
                rivals = hand_written(bench, loss.as_ref(), &inputs, &case.resident, expected, shape)?;
            }
            notes.extend(case.note());
            ready.push(case);
        }
        drop((drawn, reference));

        let mut subjects = Vec::new();
        for case in &ready {
            subjects.extend(case.subjects(bench, info, shape, self.profile)?);
        }
        subjects.extend(rivals.iter().map(|(kernel, row, scale)| {
            Subject::calls(bench, row.clone(), move |pass| kernel.record(pass)).scaled(*scale)
        }));
        for case in &ready {
            for (row, copy) in &case.copies {
                subjects.push(Subject::calls(bench, row.clone(), move |pass| copy.record(pass)));
            }
        }
        let (rows, rounds) = time_in_turn(subjects, bench.pace)?;
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
    inputs: &Inputs,
    resident: &Resident,
    expected: &Expected,
    shape: [usize; 2],
) -> Outcome<Vec<(HandWritten, Row, f64)>> {
    let [n, c] = shape;
    let count = HandWritten::peer_rows(shape);
    let mut all = Vec::new();
    if let Some(kernel) = HandWritten::peer(bench, resident, count, c) {
        let first = inputs.first_rows(count);
        let expected = first.expected(loss)?;
        kernel.check(bench, resident, &first, &expected).map_err(|e| format!("peer {shape:?}: {e}"))?;
        let mut row = Row::new("peer", "both", "f32", 0);
        if count < n {
            row.strategy = format!("{count} rows scaled up");
        }
        all.push((kernel, row, n as f64 / count as f64));
    }
    for (mode, wants_grad) in [("loss", false), ("both", true)] {
        let Some(kernel) = HandWritten::fast(bench, resident, shape, wants_grad) else { continue };
        kernel.check(bench, resident, inputs, expected).map_err(|e| format!("fast {mode} {shape:?}: {e}"))?;
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
    strategy: Option<RowStrategy>,
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
        inputs: &Inputs,
        (storage, strategy): Way,
        modes: &[&'static str],
    ) -> Outcome<Self> {
        let mut prepared = Vec::new();
        let mut before = None;
        for &mode in modes {
            before = bench.allocated()?;
            prepared.push((mode, loss.prepare_with(&bench.ctx, &storage.ask(inputs.problem(mode)), strategy)?));
        }
        // The last mode has every output.
        let (_, last) = prepared.last().ok_or("no modes")?;
        let resident = Resident::upload(bench, loss, &inputs.drawn, last.plan(), storage);
        let allocated = before.zip(bench.allocated()?).map(|(before, after)| after.saturating_sub(before));
        Ok(Self { storage, strategy, prepared, resident, allocated, copies: Vec::new() })
    }

    /// Which strategy the plan took, and why.
    fn note(&self) -> Option<String> {
        let (_, last) = self.prepared.last()?;
        Some(format!("{}: {} ({})", self.storage.name(), last.plan().strategy(), last.plan().reason()))
    }

    /// Every mode agrees with the reference.
    fn check(&self, bench: &Bench, inputs: &Inputs, expected: &Expected) -> Outcome<()> {
        for (mode, prepared) in self.prepared.iter().filter(|(mode, _)| *mode != KERNEL) {
            self.check_mode(bench, prepared, inputs, expected)
                .map_err(|e| format!("{}, {mode}, {e}", self.storage.name()))?;
        }
        Ok(())
    }

    fn check_mode(&self, bench: &Bench, prepared: &Prepared, inputs: &Inputs, expected: &Expected) -> Outcome<()> {
        let compared = inputs.compared();
        let mut parts = Vec::new();
        let mut encoder = bench.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for tensor in [TensorId::Loss, TensorId::GradInput] {
            let Some(range) = self.resident.range(tensor).filter(|_| prepared.plan().size_of(tensor) > 0) else {
                continue;
            };
            // Whatever an earlier call left there must not pass for this call's result.
            encoder.clear_buffer(range.buffer, 0, None);
            if tensor == TensorId::Loss {
                parts.push((None, range));
                continue;
            }
            parts.extend(compared.iter().map(|rows| {
                let Range { start, end } = inputs.bytes(rows, self.storage);
                let size = wgpu::BufferSize::new(end - start);
                (Some(rows), wgpu::BufferBinding { buffer: range.buffer, offset: start, size })
            }));
        }
        prepared.record(&mut encoder, &self.resident.buffers(prepared.plan()))?;
        let (rows, ranges): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let readback = prepared.read(&mut encoder, &ranges)?;
        bench.queue.submit([encoder.finish()]);
        for (rows, bytes) in rows.into_iter().zip(readback.wait()?) {
            match rows {
                None => expected.check_loss(&Storage::F32.decode(&bytes), |v| Storage::F32.tolerance(v))?,
                Some(rows) => {
                    expected.check_gradient(rows, &self.storage.decode(&bytes), |v| self.storage.tolerance(v))?;
                }
            }
        }
        Ok(())
    }

    /// Copies of the input over the gradient, and reading it alone.
    fn add_copies(&mut self, bench: &Bench, inputs: &Inputs) -> Outcome<()> {
        let (Some(input), Some(scratch)) = (self.resident.get(TensorId::Input), self.resident.get(TensorId::GradInput))
        else {
            return Err("no input or no gradient".into());
        };
        let ranges: Vec<_> = inputs.compared().iter().map(|rows| inputs.bytes(rows, self.storage)).collect();
        for copy in Copy::all(input.size(), bench.on_cpu) {
            let step = copy.bind(bench, input, scratch);
            check_copy(bench, &step, [input, scratch], &ranges).map_err(|e| format!("{}: {e}", copy.name))?;
            let mut row = Row::new("copy", copy.name, self.storage.name(), 2 * input.size()).baseline();
            row.tensor_bytes = row.bytes;
            self.copies.push((row, step));
        }
        let reading = Copy::reading(input.size());
        let mut row = Row::new("read", reading.name, self.storage.name(), input.size());
        row.tensor_bytes = 2 * row.bytes;
        self.copies.push((row, reading.bind(bench, input, scratch)));
        Ok(())
    }

    fn subjects<'a>(
        &'a self,
        bench: &'a Bench,
        info: &LossInfo,
        shape: [usize; 2],
        profile: bool,
    ) -> Outcome<Vec<Subject<'a>>> {
        let mut subjects = Vec::new();
        for (index, (mode, prepared)) in self.prepared.iter().enumerate() {
            let plan = prepared.plan();
            let bind = || prepared.bind(&self.resident.buffers(prepared.plan()));
            let mut row = Row::new("deeploss", mode, self.storage.name(), least_bytes(info, prepared, shape));
            row.tensor_bytes = plan.sizes().iter().map(|&(_, size)| size).sum();
            row.scratch_bytes = prepared.scratch_bytes();
            row.allocated_bytes = self.allocated.filter(|_| index + 1 == self.prepared.len());
            row.strategy = plan.strategy().to_string();
            if self.strategy.is_some() {
                row.strategy.push_str(FORCED);
            }
            let bound = bind()?;
            if *mode == KERNEL {
                subjects.push(Subject::dispatches(bench, row, bound, kernels_of_loss(prepared)));
                continue;
            }
            let all = plan.dispatches().len();
            subjects.push(Subject::calls(bench, row, move |pass| bound.dispatch(pass, 0..all)));
            for (at, dispatch) in plan.dispatches().iter().enumerate().filter(|_| profile) {
                let mut row = Row::new(DISPATCH, mode, self.storage.name(), 0);
                row.strategy = dispatch.kernel.label();
                row.workgroups = dispatch.grid.iter().map(|&side| u64::from(side)).product();
                subjects.push(Subject::dispatches(bench, row, bind()?, at..at + 1));
            }
        }
        Ok(subjects)
    }
}

/// The dispatches that compute the loss, without those that count the denominator before and sum after.
fn kernels_of_loss(prepared: &Prepared) -> Range<usize> {
    let is_of_loss = |kernel: &Kernel| matches!(kernel, Kernel::Rows(_) | Kernel::Items(_));
    let mut places = (0..).zip(prepared.plan().dispatches()).filter(|(_, d)| is_of_loss(&d.kernel)).map(|(at, _)| at);
    let first = places.next().unwrap_or(0);
    first..places.last().unwrap_or(first) + 1
}

/// Bytes of a sector, the least that a GPU fetches.
const SECTOR: u64 = 32;

/// Bytes that must move: every tensor once. Of the logits `nll_loss` needs one a row for its loss and none for its gradient, and
/// of the lists of labels of `multilabel_margin_loss` the beginning counts.
fn least_bytes(info: &LossInfo, prepared: &Prepared, [rows, _]: [usize; 2]) -> u64 {
    let plan = prepared.plan();
    let all: u64 = plan.sizes().iter().map(|&(_, size)| size).sum();
    let sector_per_row = |tensor| plan.size_of(tensor).min(SECTOR * rows as u64);
    match info.name {
        "nll_loss" if plan.size_of(TensorId::Loss) == 0 => all - plan.size_of(TensorId::Input),
        "nll_loss" => all - plan.size_of(TensorId::Input) + sector_per_row(TensorId::Input),
        "multilabel_margin_loss" => all - plan.size_of(TensorId::Target) + sector_per_row(TensorId::Target),
        _ => all,
    }
}
