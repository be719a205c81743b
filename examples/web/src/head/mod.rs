//! The head of a language model: cross-entropy of rows of 131 072 classes at a temperature, and what it takes beside a copy of the same
//! bytes.

use std::hint::black_box;

use deeploss::internals::Rng;
use deeploss::ndarray::{Array1, Array2};
use deeploss::wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, Buffer, BufferDescriptor, BufferUsages, CommandEncoder,
    CommandEncoderDescriptor, ComputePassDescriptor, ComputePassTimestampWrites, ComputePipeline,
    ComputePipelineDescriptor, Device, Features, PipelineCompilationOptions, QuerySet, QuerySetDescriptor, QueryType,
    Queue, ShaderModuleDescriptor, ShaderSource,
};
use deeploss::{Bound, Buffers, Context, CrossEntropy, Error, Evaluate, Prepared, Problem, Tensors, Want};

use crate::readback::arrived;

#[cfg(target_arch = "wasm32")]
mod js;
#[cfg(test)]
mod tests;

/// Classes of a row.
pub const CLASSES: usize = 1 << 17;
/// Which place the true class takes among its row's logits, from 0.
pub const TRUE_RANK: usize = 3;

const SHADER: &str = include_str!("../../shaders/head.wgsl");

/// Rows of logits with their classes, on the GPU if there is one.
pub struct Head {
    /// (rows, CLASSES)
    logits: Array2<f32>,
    /// (rows)
    labels: Array1<i32>,
    gpu: Option<Gpu>,
    temperature: f32,
    /// Where the CPU copies to; nothing on a GPU.
    copied: Array2<f32>,
}

/// Loss, and statistics of the first row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Mean over the rows.
    pub loss: f32,
    /// log sum exp(x / T)
    pub lse: f32,
    /// In nats.
    pub entropy: f32,
    /// The class with the largest logit.
    pub argmax: u32,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Loss and gradient.
    Fused,
    /// As many bytes from one buffer to another.
    Copy,
}

/// The tensors on the device, and calls that are prepared for them.
struct Gpu {
    ctx: Context,
    device: Device,
    queue: Queue,
    logits: Buffer,
    labels: Buffer,
    grad: Buffer,
    loss: Buffer,
    /// (rows, 4)
    stats: Buffer,
    copy: (ComputePipeline, BindGroup),
    clock: Option<Clock>,
    /// Loss and gradient alone, at the temperature of the last look.
    timed: Option<(Prepared, Bound)>,
}

/// Two timestamps of the device.
struct Clock {
    queries: QuerySet,
    resolved: Buffer,
    /// Seconds.
    tick: f64,
}

impl Head {
    /// So many rows; at temperature 1, until another is looked at.
    ///
    /// # Errors
    /// What the device has against it.
    pub async fn new(ctx: &Context, rows: usize) -> Result<Self, Error> {
        let (logits, labels) = made_up(rows);
        let gpu = ctx.device().zip(ctx.queue()).map(|(device, queue)| Gpu::new(ctx, device, queue, &logits, &labels));
        let copied = Array2::zeros(if gpu.is_none() { logits.dim() } else { (0, 0) });
        let mut head = Self { logits, labels, gpu, temperature: 1.0, copied };
        head.look(1.0).await?;
        Ok(head)
    }

    /// Loss, gradient and statistics at a temperature, which later runs keep.
    ///
    /// # Errors
    /// [`Error::Value`] of the temperature; what the device has against it.
    pub async fn look(&mut self, temperature: f32) -> Result<Look, Error> {
        let look = match &mut self.gpu {
            Some(gpu) => gpu.look(self.logits.nrows(), temperature).await?,
            None => {
                let tensors = Tensors::new(self.logits.view(), self.labels.view());
                let wanted = tensors.wants(Want::LOSS | Want::GRAD | Want::STATS);
                let out = CrossEntropy::new().temperature(temperature).evaluate(&Context::cpu(), &wanted)?;
                let stats = out.stats.as_ref().expect("statistics are wanted");
                let loss = out.scalar().expect("the mean is one number");
                Look { loss, lse: stats.lse[0], entropy: stats.entropy[0], argmax: stats.argmax[0] }
            }
        };
        self.temperature = temperature;
        Ok(look)
    }

    /// The work so many times in one submit. Seconds by the device's own clock where it has one; else who waits has to look at theirs.
    ///
    /// # Errors
    /// What the device has against it.
    pub async fn run(&mut self, work: Work, times: usize) -> Result<Option<f64>, Error> {
        if let Some(gpu) = &self.gpu {
            return gpu.run(work, times).await;
        }
        let tensors = Tensors::new(self.logits.view(), self.labels.view());
        let loss = CrossEntropy::new().temperature(self.temperature);
        for _ in 0..times {
            match work {
                Work::Fused => drop(black_box(loss.evaluate(&Context::cpu(), &tensors)?)),
                Work::Copy => black_box(&mut self.copied).assign(black_box(&self.logits)),
            }
        }
        Ok(None)
    }

    /// Bytes that loss and gradient need besides logits and gradient; nothing is known of them on the CPU.
    #[must_use]
    pub fn scratch(&self) -> Option<u64> {
        self.gpu.as_ref()?.timed.as_ref().map(|(prepared, _)| prepared.scratch_bytes())
    }

    /// Whether the device has a clock of its own.
    #[must_use]
    pub fn has_clock(&self) -> bool {
        self.gpu.as_ref().is_some_and(|gpu| gpu.clock.is_some())
    }

    /// The first row's logits, largest first. That of the true class has place [`TRUE_RANK`].
    #[must_use]
    pub fn ranked(&self) -> Vec<f32> {
        let mut row = self.logits.row(0).to_vec();
        row.sort_by(|a, b| b.total_cmp(a));
        row
    }
}

/// Logits as a language model's are: by rank r about -1.2 log r, as words are by Zipf's law, in another order in each row.
fn made_up(rows: usize) -> (Array2<f32>, Array1<i32>) {
    let rng = &mut Rng::new(7);
    let mut by_rank: Vec<f32> =
        (1..=CLASSES).map(|rank| 12.0 - 1.2 * (rank as f32).ln() + 0.5 * rng.uniform()).collect();
    by_rank.sort_by(|a, b| b.total_cmp(a));
    // Times an odd number is one to one modulo a power of two.
    let rank_of = |row: usize, class: usize| (class * (2 * row + 40_503) + 977 * row) % CLASSES;
    let logits = Array2::from_shape_fn((rows, CLASSES), |(row, class)| by_rank[rank_of(row, class)]);
    let label = |row| (0..CLASSES).find(|&class| rank_of(row, class) == TRUE_RANK).unwrap_or_default() as i32;
    (logits, (0..rows).map(label).collect())
}

impl Gpu {
    fn new(ctx: &Context, device: &Device, queue: &Queue, logits: &Array2<f32>, labels: &Array1<i32>) -> Self {
        let buffer = |label, words: usize, usage| {
            device.create_buffer(&BufferDescriptor {
                label: Some(label),
                size: 4 * words as u64,
                usage: usage | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            })
        };
        let storage = |label, words| buffer(label, words, BufferUsages::STORAGE);
        let on_gpu = storage("head.logits", logits.len());
        for (row, values) in logits.outer_iter().enumerate() {
            queue.write_buffer(&on_gpu, (4 * row * CLASSES) as u64, bytemuck::cast_slice(&values.to_vec()));
        }
        let labels_on_gpu = storage("head.labels", labels.len());
        queue.write_buffer(&labels_on_gpu, 0, bytemuck::cast_slice(&labels.to_vec()));
        let grad = storage("head.grad", logits.len());
        let copy = copy_kernel(device, &on_gpu, &grad);
        let clock = device.features().contains(Features::TIMESTAMP_QUERY).then(|| Clock {
            queries: device.create_query_set(&QuerySetDescriptor {
                label: Some("head.clock"),
                ty: QueryType::Timestamp,
                count: 2,
            }),
            resolved: buffer("head.clock", 4, BufferUsages::QUERY_RESOLVE),
            tick: 1e-9 * f64::from(queue.get_timestamp_period()),
        });
        Self {
            ctx: ctx.clone(),
            device: device.clone(),
            queue: queue.clone(),
            logits: on_gpu,
            grad,
            loss: storage("head.loss", 1),
            stats: storage("head.stats", 4 * labels.len()),
            labels: labels_on_gpu,
            copy,
            clock,
            timed: None,
        }
    }

    async fn look(&mut self, rows: usize, temperature: f32) -> Result<Look, Error> {
        let loss = CrossEntropy::new().temperature(temperature);
        let problem = |want| Problem::rows(rows, CLASSES).wants(want);
        let buffers = Buffers {
            input: Some(self.logits.as_entire_buffer_binding()),
            target: Some(self.labels.as_entire_buffer_binding()),
            loss: Some(self.loss.as_entire_buffer_binding()),
            grad_input: Some(self.grad.as_entire_buffer_binding()),
            ..Buffers::default()
        };
        let timed = loss.prepare_async(&self.ctx, &problem(Want::LOSS | Want::GRAD)).await?;
        let bound = timed.bind(&buffers)?;
        self.timed = Some((timed, bound));

        let wanted = problem(Want::LOSS | Want::GRAD | Want::STATS);
        let prepared = loss.prepare_async(&self.ctx, &wanted).await?;
        let mut encoder = self.encoder();
        prepared.record(&mut encoder, &Buffers { stats: Some(self.stats.as_entire_buffer_binding()), ..buffers })?;
        let outputs = [&self.loss, &self.stats].map(Buffer::as_entire_buffer_binding);
        let readback = prepared.read(&mut encoder, &outputs)?;
        self.queue.submit([encoder.finish()]);
        let parts = arrived(readback).await?;
        let [loss, stats] = [0, 1].map(|part| bytemuck::pod_collect_to_vec::<u8, f32>(&parts[part]));
        Ok(Look { loss: loss[0], lse: stats[0], entropy: stats[1], argmax: stats[2].to_bits() })
    }

    async fn run(&self, work: Work, times: usize) -> Result<Option<f64>, Error> {
        let (prepared, bound) = self.timed.as_ref().expect("`look` comes first");
        let mut encoder = self.encoder();
        let timestamp_writes = self.clock.as_ref().map(|clock| ComputePassTimestampWrites {
            query_set: &clock.queries,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        });
        let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor { label: Some("head"), timestamp_writes });
        for _ in 0..times {
            match work {
                Work::Fused => bound.dispatch(&mut pass, 0..prepared.plan().dispatches().len()),
                Work::Copy => {
                    pass.set_pipeline(&self.copy.0);
                    pass.set_bind_group(0, &self.copy.1, &[]);
                    pass.dispatch_workgroups((self.logits.size() / 16).div_ceil(256) as u32, 1, 1);
                }
            }
        }
        drop(pass);
        if let Some(clock) = &self.clock {
            encoder.resolve_query_set(&clock.queries, 0..2, &clock.resolved, 0);
        }
        let wanted = self.clock.as_ref().map_or(&self.loss, |clock| &clock.resolved).as_entire_buffer_binding();
        let readback = prepared.read(&mut encoder, &[wanted])?;
        self.queue.submit([encoder.finish()]);
        let parts = arrived(readback).await?;
        Ok(self.clock.as_ref().map(|clock| {
            let stamps: Vec<u64> = bytemuck::pod_collect_to_vec(&parts[0]);
            clock.tick * stamps[1].saturating_sub(stamps[0]) as f64
        }))
    }

    fn encoder(&self) -> CommandEncoder {
        self.device.create_command_encoder(&CommandEncoderDescriptor { label: Some("head") })
    }
}

/// head.wgsl, from one buffer to another.
fn copy_kernel(device: &Device, from: &Buffer, to: &Buffer) -> (ComputePipeline, BindGroup) {
    let module = device.create_shader_module(ShaderModuleDescriptor {
        label: Some("head"),
        source: ShaderSource::Wgsl(SHADER.into()),
    });
    let pipeline = device.create_compute_pipeline(&ComputePipelineDescriptor {
        label: Some("head.copy"),
        layout: None,
        module: &module,
        entry_point: Some("copy"),
        compilation_options: PipelineCompilationOptions::default(),
        cache: None,
    });
    let entries =
        [(0, from), (1, to)].map(|(binding, buffer)| BindGroupEntry { binding, resource: buffer.as_entire_binding() });
    let group = device.create_bind_group(&BindGroupDescriptor {
        label: Some("head.copy"),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    });
    (pipeline, group)
}
