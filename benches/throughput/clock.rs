//! The device's own clock: what lies between two timestamps counts, and neither recording nor waiting does.

use crate::outcome::Outcome;

/// Two timestamps each; a query set holds 4096.
pub(crate) const MAX_SPANS: u32 = 2048;
const TIMESTAMP_BYTES: u64 = size_of::<u64>() as u64;

/// Where timestamps go.
pub(crate) struct Clock {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
    /// Seconds.
    tick: f64,
}

impl Clock {
    /// `None` where the device has no timestamps.
    pub(crate) fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Option<Self> {
        if !device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return None;
        }
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("deeploss.bench.timestamps"),
                size: 2 * u64::from(MAX_SPANS) * TIMESTAMP_BYTES,
                usage,
                mapped_at_creation: false,
            })
        };
        let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("deeploss.bench.timestamps"),
            ty: wgpu::QueryType::Timestamp,
            count: 2 * MAX_SPANS,
        });
        Some(Self {
            queries,
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            staging: buffer(wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ),
            tick: 1e-9 * f64::from(queue.get_timestamp_period()),
        })
    }

    /// Seconds that the first spans took together, once what wrote their timestamps has been submitted.
    fn read(&self, device: &wgpu::Device, queue: &wgpu::Queue, spans: u32) -> Outcome<f64> {
        let bytes = 2 * u64::from(spans) * TIMESTAMP_BYTES;
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.resolve_query_set(&self.queries, 0..2 * spans, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.staging, 0, bytes);
        encoder.map_buffer_on_submit(&self.staging, wgpu::MapMode::Read, ..bytes, |_| {});
        queue.submit([encoder.finish()]);
        device.poll(wgpu::PollType::wait_indefinitely())?;
        let stamps: Vec<u64> = bytemuck::pod_collect_to_vec(&self.staging.get_mapped_range(..bytes)?);
        self.staging.unmap();
        let ticks: u64 = stamps.chunks_exact(2).map(|span| span[1].saturating_sub(span[0])).sum();
        Ok(self.tick * ticks as f64)
    }
}

/// Commands of one sample, some of them timed.
pub(crate) struct Recorder<'a> {
    encoder: wgpu::CommandEncoder,
    clock: Option<&'a Clock>,
    spans: u32,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(device: &wgpu::Device, clock: Option<&'a Clock>) -> Self {
        let descriptor = wgpu::CommandEncoderDescriptor { label: Some("deeploss.bench") };
        Self { encoder: device.create_command_encoder(&descriptor), clock, spans: 0 }
    }

    /// One pass between two timestamps.
    pub(crate) fn timed(&mut self, record: impl FnOnce(&mut wgpu::ComputePass<'_>)) {
        let timestamp_writes = self.clock.map(|clock| wgpu::ComputePassTimestampWrites {
            query_set: &clock.queries,
            beginning_of_pass_write_index: Some(2 * self.spans),
            end_of_pass_write_index: Some(2 * self.spans + 1),
        });
        let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
        record(&mut self.encoder.begin_compute_pass(&descriptor));
        self.spans += 1;
    }

    /// One pass that does not count.
    pub(crate) fn untimed(&mut self, record: impl FnOnce(&mut wgpu::ComputePass<'_>)) {
        record(&mut self.encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
    }

    /// Submits and waits.
    pub(crate) fn run(self, device: &wgpu::Device, queue: &wgpu::Queue) -> Outcome<Ran<'a>> {
        queue.submit([self.encoder.finish()]);
        device.poll(wgpu::PollType::wait_indefinitely())?;
        Ok(Ran { clock: self.clock, spans: self.spans })
    }
}

/// What has run, with its timestamps still on the device: reading them is no part of its time.
pub(crate) struct Ran<'a> {
    clock: Option<&'a Clock>,
    spans: u32,
}

impl Ran<'_> {
    /// Seconds by the device; `None` where it has no clock.
    pub(crate) fn seconds(&self, device: &wgpu::Device, queue: &wgpu::Queue) -> Outcome<Option<f64>> {
        self.clock.map(|clock| clock.read(device, queue, self.spans)).transpose()
    }
}
