//! Samples, rounds, medians.

use std::ops::Range;
use std::time::{Duration, Instant};

use deeploss::{Bound, Context};

use crate::clock::{Clock, Recorder};
use crate::outcome::Outcome;
use crate::report::Row;
use crate::rounds::Rounds;

/// Rounds go on until they have taken this long: the median of a short call needs more of them.
const ROUNDS_TIME: Duration = Duration::from_millis(1500);
const MAX_ROUNDS: usize = 201;
const WARM_UP_ROUNDS: usize = 2;
/// Rounds before a median tells which of the next ones are spoiled.
const JUDGING_ROUNDS: usize = 3;
/// Spoiled rounds that are repeated, per round that is asked for: a clock that changed for good must not go on for ever.
const MAX_SPOILED: usize = 3;

/// How many rounds, and which of them count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Rounds at least.
    pub(crate) repeat: usize,
    /// Rounds go on for this long.
    pub(crate) time: Duration,
    /// A round is spoiled where the best copy is off its median so far by more than this part of it: the device has changed its
    /// clock, or does something else besides.
    pub(crate) tolerance: f64,
}

impl Pace {
    /// On a CPU copies are as noisy as the machine.
    pub(crate) fn new(repeat: usize, on_cpu: bool) -> Self {
        Self { repeat, time: ROUNDS_TIME, tolerance: if on_cpu { 0.3 } else { 0.05 } }
    }

    /// Where no copy says what a round is worth.
    pub(crate) fn without_copies(self) -> Self {
        Self { tolerance: f64::INFINITY, ..self }
    }
}

/// The device, and how it is measured.
pub(crate) struct Bench {
    pub(crate) ctx: Context,
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) on_cpu: bool,
    pub(crate) pace: Pace,
    /// Calls in one submit.
    pub(crate) calls: u32,
    clock: Option<Clock>,
}

impl Bench {
    pub(crate) fn new(ctx: Context, repeat: usize, calls: Option<u32>) -> Outcome<Self> {
        let (Some(device), Some(queue), Some(facts)) = (ctx.device(), ctx.queue(), ctx.facts()) else {
            return Err("a context without a device".into());
        };
        let (device, queue, on_cpu) = (device.clone(), queue.clone(), facts.is_cpu);
        let clock = Clock::new(&device, &queue);
        // A submit costs a CPU adapter little beside a call, and a GPU as much as one.
        let calls = calls.unwrap_or(if on_cpu { 1 } else { 10 });
        Ok(Self { ctx, device, queue, on_cpu, pace: Pace::new(repeat, on_cpu), calls, clock })
    }

    /// The device tells its own time.
    pub(crate) fn has_clock(&self) -> bool {
        self.clock.is_some()
    }

    /// Bytes of logits where the command line names no other number: on GPUs enough to make fixed costs small and caches useless.
    pub(crate) fn logit_bytes(&self, mib: Option<usize>, on_cpu: usize) -> usize {
        let largest = self.ctx.facts().map_or(0, |facts| facts.max_binding) as usize;
        // The copies bind the logits whole.
        (mib.unwrap_or(if self.on_cpu { on_cpu } else { 256 }) << 20).min(largest)
    }

    pub(crate) fn submit(&self, record: impl FnOnce(&mut wgpu::CommandEncoder)) -> Outcome<()> {
        let descriptor = wgpu::CommandEncoderDescriptor { label: Some("deeploss.bench") };
        let mut encoder = self.device.create_command_encoder(&descriptor);
        record(&mut encoder);
        self.queue.submit([encoder.finish()]);
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        Ok(())
    }

    /// One sample, by the device's clock if it has one.
    fn sample(&self, record: impl FnOnce(&mut Recorder<'_>)) -> Outcome<Sample> {
        let start = Instant::now();
        let mut recorder = Recorder::new(&self.device, self.clock.as_ref());
        record(&mut recorder);
        let ran = recorder.run(&self.device, &self.queue)?;
        let wall = start.elapsed().as_secs_f64();
        Ok(Sample { seconds: ran.seconds(&self.device, &self.queue)?.unwrap_or(wall), wall })
    }

    /// What ranges of a buffer hold after the commands that `record` puts before.
    pub(crate) fn read(
        &self,
        buffer: &wgpu::Buffer,
        ranges: &[Range<u64>],
        record: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Outcome<Vec<Vec<u8>>> {
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("deeploss.bench.staging"),
            size: ranges.iter().map(|range| range.end - range.start).sum(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.submit(|encoder| {
            record(encoder);
            let mut at = 0;
            for range in ranges {
                let size = range.end - range.start;
                encoder.copy_buffer_to_buffer(buffer, range.start, &staging, at, size);
                at += size;
            }
            encoder.map_buffer_on_submit(&staging, wgpu::MapMode::Read, .., |_| {});
        })?;
        let bytes = staging.get_mapped_range(..)?;
        let mut rest = &bytes[..];
        let part = |range: &Range<u64>| {
            let (part, others) = rest.split_at((range.end - range.start) as usize);
            rest = others;
            part.to_vec()
        };
        Ok(ranges.iter().map(part).collect())
    }

    /// Bytes that the device has allocated, where its allocator tells.
    pub(crate) fn allocated(&self) -> Outcome<Option<u64>> {
        // Staging memory of uploads is given back by then.
        self.submit(|_| {})?;
        Ok(self.device.generate_allocator_report().map(|report| report.total_allocated_bytes))
    }
}

/// Seconds of one sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// By the device's clock, or else the wall's.
    pub(crate) seconds: f64,
    /// By the wall's.
    pub(crate) wall: f64,
}

/// Something that is timed, and the row that will tell of it.
pub(crate) struct Subject<'a> {
    pub(crate) row: Row,
    sample: Box<dyn Fn() -> Outcome<Sample> + 'a>,
    /// What a sample is multiplied with.
    scale: f64,
    samples: Vec<Sample>,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(row: Row, sample: impl Fn() -> Outcome<Sample> + 'a) -> Self {
        Self { row, sample: Box::new(sample), scale: 1.0, samples: Vec::new() }
    }

    /// Wall time of recording, submitting and waiting.
    pub(crate) fn submitted(bench: &'a Bench, row: Row, record: impl Fn(&mut wgpu::CommandEncoder) + 'a) -> Self {
        Self::new(row, move || wall(|| bench.submit(&record)))
    }

    /// One of [`Bench::calls`] calls in one pass.
    pub(crate) fn calls(bench: &'a Bench, row: Row, record: impl Fn(&mut wgpu::ComputePass<'_>) + 'a) -> Self {
        let sample =
            move || bench.sample(|recorder| recorder.timed(|pass| (0..bench.calls).for_each(|_| record(pass))));
        Self::new(row, sample).scaled(1.0 / f64::from(bench.calls))
    }

    /// Some dispatches of a call, each time with the others around them, so that caches hold what they hold in a call. Needs
    /// the device's clock.
    pub(crate) fn dispatches(bench: &'a Bench, row: Row, bound: Bound, which: Range<usize>) -> Self {
        let call = move |recorder: &mut Recorder<'_>| {
            recorder.untimed(|pass| bound.dispatch(pass, 0..which.start));
            recorder.timed(|pass| bound.dispatch(pass, which.clone()));
            recorder.untimed(|pass| bound.dispatch(pass, which.end..usize::MAX));
        };
        // By the wall clock it cannot be told from the call.
        let sample = move || {
            let sample = bench.sample(|recorder| (0..bench.calls).for_each(|_| call(recorder)))?;
            Ok(Sample { wall: f64::NAN, ..sample })
        };
        Self::new(row, sample).scaled(1.0 / f64::from(bench.calls))
    }

    pub(crate) fn scaled(mut self, factor: f64) -> Self {
        self.scale *= factor;
        self
    }

    fn take(&mut self) -> Outcome<()> {
        let Sample { seconds, wall } = (self.sample)()?;
        self.samples.push(Sample { seconds: self.scale * seconds, wall: self.scale * wall });
        Ok(())
    }

    fn median(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.seconds))
    }

    fn finish(mut self) -> Row {
        self.row.median = self.median();
        self.row.min = self.samples.iter().map(|sample| sample.seconds).fold(f64::NAN, f64::min);
        self.row.wall = median(self.samples.iter().map(|sample| sample.wall));
        self.row
    }
}

/// Something that is timed by the wall clock.
pub(crate) fn wall<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<Sample> {
    let start = Instant::now();
    work()?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(Sample { seconds, wall: seconds })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Round after round of one sample each, so that whatever else the machine does hits all subjects alike.
pub(crate) fn time_in_turn(mut subjects: Vec<Subject<'_>>, pace: Pace) -> Outcome<(Vec<Row>, Rounds)> {
    for _ in 0..WARM_UP_ROUNDS {
        for subject in &subjects {
            (subject.sample)()?;
        }
    }
    let start = Instant::now();
    let mut rounds = Rounds { kept: 0, spoiled: 0 };
    while rounds.kept < pace.repeat || (start.elapsed() < pace.time && rounds.kept < MAX_ROUNDS) {
        let judge = rounds.kept >= JUDGING_ROUNDS && rounds.spoiled < MAX_SPOILED * pace.repeat;
        let expected = if judge { best_baselines(&subjects) } else { Vec::new() };
        subjects.iter_mut().try_for_each(Subject::take)?;
        let is_off = |&(at, median): &(usize, f64)| {
            subjects[at].samples.last().is_some_and(|last| (last.seconds / median - 1.0).abs() > pace.tolerance)
        };
        if expected.iter().any(is_off) {
            subjects.iter_mut().for_each(|subject| subject.samples.truncate(rounds.kept));
            rounds.spoiled += 1;
        } else {
            rounds.kept += 1;
        }
    }
    let best: Vec<_> = best_baselines(&subjects)
        .into_iter()
        .map(|(at, median)| (subjects[at].row.dtype, median, subjects[at].row.bytes as f64 / median))
        .collect();
    let mut rows: Vec<Row> = subjects.into_iter().map(Subject::finish).collect();
    for row in &mut rows {
        if let Some((_, median, speed)) = best.iter().find(|(dtype, ..)| *dtype == row.dtype) {
            row.ratio = row.median / median;
            row.floor = row.bytes as f64 / speed;
        }
    }
    Ok((rows, rounds))
}

/// Of each storage, which baseline is the fastest so far, and its median.
fn best_baselines(subjects: &[Subject<'_>]) -> Vec<(usize, f64)> {
    let mut best: Vec<(usize, f64)> = Vec::new();
    for (at, subject) in subjects.iter().enumerate().filter(|(_, subject)| subject.row.is_baseline) {
        let median = subject.median();
        match best.iter_mut().find(|(other, _)| subjects[*other].row.dtype == subject.row.dtype) {
            Some(found) if median < found.1 => *found = (at, median),
            Some(_) => {}
            None => best.push((at, median)),
        }
    }
    best
}
