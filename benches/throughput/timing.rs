//! Samples, rounds, medians.

use std::time::{Duration, Instant};

use deeploss::Context;

use crate::outcome::Outcome;
use crate::report::Row;

/// Rounds go on until they have taken this long: the median of a short call needs more of them.
pub(crate) const ROUNDS_TIME: Duration = Duration::from_millis(1500);
const MAX_ROUNDS: usize = 201;
const WARM_UP_ROUNDS: usize = 2;

/// The device, and how it is measured.
pub(crate) struct Bench {
    pub(crate) ctx: Context,
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    /// Rounds at least.
    pub(crate) repeat: usize,
    /// Calls in one submit.
    pub(crate) calls: u32,
    /// Rounds go on for this long.
    pub(crate) time: Duration,
}

impl Bench {
    pub(crate) fn new(ctx: Context, repeat: usize, calls: Option<u32>) -> Outcome<Self> {
        let (Some(device), Some(queue), Some(facts)) = (ctx.device(), ctx.queue(), ctx.facts()) else {
            return Err("a context without a device".into());
        };
        let (device, queue) = (device.clone(), queue.clone());
        // A submit costs a CPU adapter little beside a call, and a GPU as much as one.
        let calls = calls.unwrap_or(if facts.is_cpu { 1 } else { 10 });
        Ok(Self { ctx, device, queue, repeat, calls, time: ROUNDS_TIME })
    }

    pub(crate) fn submit(&self, record: impl FnOnce(&mut wgpu::CommandEncoder)) -> Outcome<()> {
        let descriptor = wgpu::CommandEncoderDescriptor { label: Some("deeploss.bench") };
        let mut encoder = self.device.create_command_encoder(&descriptor);
        record(&mut encoder);
        self.queue.submit([encoder.finish()]);
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        Ok(())
    }

    /// What a buffer holds after the commands that `record` puts before.
    pub(crate) fn read(
        &self,
        buffer: &wgpu::Buffer,
        record: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Outcome<Vec<u8>> {
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("deeploss.bench.staging"),
            size: buffer.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.submit(|encoder| {
            record(encoder);
            encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, staging.size());
            encoder.map_buffer_on_submit(&staging, wgpu::MapMode::Read, .., |_| {});
        })?;
        Ok(staging.get_mapped_range(..)?.to_vec())
    }

    /// Bytes that the device has allocated, where its allocator tells.
    pub(crate) fn allocated(&self) -> Outcome<Option<u64>> {
        // Staging memory of uploads is given back by then.
        self.submit(|_| {})?;
        Ok(self.device.generate_allocator_report().map(|report| report.total_allocated_bytes))
    }

    pub(crate) fn time_in_turn(&self, subjects: Vec<Subject<'_>>) -> Outcome<(Vec<Row>, usize)> {
        time_in_turn(subjects, self.repeat, self.time)
    }
}

/// Something that is timed, and the row that will tell of it.
pub(crate) struct Subject<'a> {
    pub(crate) row: Row,
    /// Seconds of one sample.
    sample: Box<dyn Fn() -> Outcome<f64> + 'a>,
    /// What a sample is multiplied with.
    scale: f64,
    seconds: Vec<f64>,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(row: Row, sample: impl Fn() -> Outcome<f64> + 'a) -> Self {
        Self { row, sample: Box::new(sample), scale: 1.0, seconds: Vec::new() }
    }

    /// Wall time of recording, submitting and waiting.
    pub(crate) fn submitted(bench: &'a Bench, row: Row, record: impl Fn(&mut wgpu::CommandEncoder) + 'a) -> Self {
        Self::new(row, move || wall(|| bench.submit(&record)))
    }

    /// The same, of [`Bench::calls`] calls in one submit.
    pub(crate) fn calls(bench: &'a Bench, row: Row, record: impl Fn(&mut wgpu::CommandEncoder) + 'a) -> Self {
        let calls = move |encoder: &mut wgpu::CommandEncoder| (0..bench.calls).for_each(|_| record(encoder));
        Self::submitted(bench, row, calls).scaled(1.0 / f64::from(bench.calls))
    }

    pub(crate) fn scaled(mut self, factor: f64) -> Self {
        self.scale *= factor;
        self
    }
}

/// Seconds that something takes.
pub(crate) fn wall<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

/// Round after round of one sample each, so that whatever else the machine does hits all subjects alike.
pub(crate) fn time_in_turn(
    mut subjects: Vec<Subject<'_>>,
    repeat: usize,
    time: Duration,
) -> Outcome<(Vec<Row>, usize)> {
    for _ in 0..WARM_UP_ROUNDS {
        for subject in &subjects {
            (subject.sample)()?;
        }
    }
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < repeat || (start.elapsed() < time && rounds < MAX_ROUNDS) {
        for subject in &mut subjects {
            let seconds = (subject.sample)()?;
            subject.seconds.push(subject.scale * seconds);
        }
        rounds += 1;
    }
    let mut rows: Vec<Row> = subjects.into_iter().map(Subject::finish).collect();
    let medians: Vec<_> = rows.iter().filter(|r| r.is_baseline).map(|r| (r.dtype, r.median)).collect();
    for row in &mut rows {
        let own = medians.iter().filter(|(dtype, _)| *dtype == row.dtype).map(|(_, median)| *median);
        row.ratio = row.median / own.fold(f64::INFINITY, f64::min);
    }
    Ok((rows, rounds))
}

impl Subject<'_> {
    fn finish(mut self) -> Row {
        self.seconds.sort_by(f64::total_cmp);
        self.row.median = self.seconds.get(self.seconds.len() / 2).copied().unwrap_or(f64::NAN);
        self.row.min = self.seconds.first().copied().unwrap_or(f64::NAN);
        self.row
    }
}
