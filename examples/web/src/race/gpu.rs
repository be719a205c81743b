//! The networks on the GPU: everything that a step needs stays there, and all steps that are asked for go into one submit.

use bytemuck::Pod;
use deeploss::wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, BindingResource, Buffer, BufferBinding, BufferDescriptor,
    BufferSize, BufferUsages, CommandEncoder, CommandEncoderDescriptor, ComputePass, ComputePassDescriptor,
    ComputePipeline, ComputePipelineDescriptor, Device, PipelineCompilationOptions, Queue, ShaderModuleDescriptor,
    ShaderSource,
};
use deeploss::{Bound, Buffers, Context, Error, Evaluate, Prepared, Problem, TargetKind};

use super::digits::{BATCH, BATCHES, CLASSES, Data, PIXELS};
use super::network::{Descent, Network};
use super::{MOST_STEPS, NUMBERS, Progress, Runner};
use crate::readback::arrived;

const SHADER: &str = include_str!("../../shaders/race.wgsl");

/// Bytes from one network's loss to the next one's: WebGPU binds at multiples of this, and so large are the logits of a batch, too.
const APART: u64 = 256;

/// See [`super::Field`].
pub(super) struct Field {
    ctx: Context,
    device: Device,
    queue: Queue,
    count: usize,
    gather: Kernel,
    data: TrainingData,
    /// Forward passes over a batch, the held-out half, and all training samples.
    batch: Rows,
    test: Rows,
    train: Rows,
    backward: [Dispatch; 2],
    /// `judge` and `tally` of the held-out half.
    judge: [Dispatch; 2],
    losses: Vec<(Prepared, Bound)>,
    weights: Buffer,
    velocity: Buffer,
    descent: Buffer,
    /// (K, N, CLASSES)
    dlogits: Buffer,
    /// One every [`APART`] bytes.
    loss: Buffer,
    /// (steps, K): the losses of one submit.
    history: Buffer,
    tallies: Buffer,
}

/// What batches are gathered from and into.
struct TrainingData {
    schedule: Buffer,
    images: Buffer,
    labels: Buffer,
    answers: Buffer,
    batch_labels: Buffer,
    batch_answers: Buffer,
}

/// A forward pass of all networks over so many images.
struct Rows {
    x: Buffer,
    hidden: Buffer,
    logits: Buffer,
    forward: [Dispatch; 2],
}

impl Field {
    pub(super) async fn new(
        ctx: &Context,
        device: &Device,
        queue: &Queue,
        data: &Data,
        start: &Network<f32>,
        runners: Vec<Runner>,
    ) -> Result<Self, Error> {
        let (count, width) = (runners.len(), start.layers[1].nrows() - 1);
        let make = Make { device, queue };
        let kernel = make.kernels(count, width);
        let [hidden_of, logits_of] = ["hidden_of", "logits_of"].map(&kernel);

        let weights = make.zeros("race.weights", count * start.len());
        let rows = |x: Buffer| {
            let images = x.size() as usize / 4 / PIXELS;
            let hidden = make.zeros("race.hidden", count * images * width);
            let logits = make.zeros("race.logits", count * images * CLASSES);
            let forward = [
                hidden_of.over(&hidden, &[(0, &x), (1, &hidden), (3, &weights)]),
                logits_of.over(&logits, &[(1, &hidden), (2, &logits), (3, &weights)]),
            ];
            Rows { x, hidden, logits, forward }
        };
        let batch = rows(make.zeros("race.x", BATCH * PIXELS));
        let test = rows(make.filled("race.test_images", data.test.images.iter().copied()));
        let train = rows(make.filled("race.images", data.train.images.iter().copied()));
        let data_on_gpu = TrainingData {
            schedule: make.filled("race.schedule", data.schedule.iter().copied()),
            images: train.x.clone(),
            labels: make.filled("race.labels", data.train.labels.iter().copied()),
            answers: make.zeros("race.answers", data.train.labels.len() * CLASSES),
            batch_labels: make.zeros("race.batch_labels", BATCH),
            batch_answers: make.zeros("race.batch_answers", BATCH * CLASSES),
        };

        let velocity = make.zeros("race.velocity", count * start.len());
        let descent = make.zeros("race.descent", 2);
        let dlogits = make.zeros("race.dlogits", count * BATCH * CLASSES);
        let da = make.zeros("race.da", count * BATCH * width);
        let gradient =
            kernel("hidden_gradient").over(&da, &[(1, &batch.hidden), (3, &weights), (5, &dlogits), (6, &da)]);
        let descend = kernel("descend").over(
            &weights,
            &[(0, &batch.x), (1, &batch.hidden), (3, &weights), (4, &velocity), (5, &dlogits), (6, &da), (7, &descent)],
        );

        let test_labels = make.filled("race.test_labels", data.test.labels.iter().copied());
        let verdicts = make.zeros("race.verdicts", count * data.test.labels.len() * 4);
        let tallies = make.zeros("race.tallies", count * NUMBERS);
        let judge = kernel("judge")
            .bind(&[(2, &test.logits), (10, &test_labels), (14, &verdicts)], count * data.test.labels.len());
        let tally = kernel("tally").over(&tallies, &[(10, &test_labels), (14, &verdicts), (15, &tallies)]);

        let mut field = Self {
            ctx: ctx.clone(),
            device: device.clone(),
            queue: queue.clone(),
            count,
            gather: kernel("gather"),
            data: data_on_gpu,
            batch,
            test,
            train,
            backward: [gradient, descend],
            judge: [judge, tally],
            losses: Vec::new(),
            weights,
            velocity,
            descent,
            dlogits,
            loss: make.zeros("race.loss", count * APART as usize / 4),
            history: make.zeros("race.history", MOST_STEPS * count),
            tallies,
        };
        field.restart(start);
        field.set_runners(runners).await?;
        Ok(field)
    }

    /// Weights of the start for every network, at rest.
    pub(super) fn restart(&self, start: &Network<f32>) {
        let one: Vec<f32> = start.layers.iter().flatten().copied().collect();
        self.queue.write_buffer(&self.weights, 0, bytemuck::cast_slice(&one.repeat(self.count)));
        self.queue.write_buffer(&self.velocity, 0, &vec![0; self.velocity.size() as usize]);
    }

    /// Prepares each loss for its network's part of the buffers, once until the next change.
    pub(super) async fn set_runners(&mut self, runners: Vec<Runner>) -> Result<(), Error> {
        let mut losses = Vec::with_capacity(runners.len());
        for (network, runner) in runners.iter().enumerate() {
            let kind = if runner.takes_answers { TargetKind::Values } else { TargetKind::Indices };
            let prepared = runner.loss.prepare_async(&self.ctx, &Problem::new(&[BATCH, CLASSES], kind)).await?;
            let logits = (4 * BATCH * CLASSES) as u64;
            let own = |buffer, size| {
                let binding = BufferBinding { buffer, offset: network as u64 * size, size: BufferSize::new(size) };
                Some(binding)
            };
            let target = if runner.takes_answers { &self.data.batch_answers } else { &self.data.batch_labels };
            let bound = prepared.bind(&Buffers {
                input: own(&self.batch.logits, logits),
                target: Some(target.as_entire_buffer_binding()),
                loss: own(&self.loss, APART),
                grad_input: own(&self.dlogits, logits),
                ..Buffers::default()
            })?;
            losses.push((prepared, bound));
        }
        self.losses = losses;
        Ok(())
    }

    pub(super) fn learn_from(&self, teacher: &Self) {
        let mut encoder = self.encoder();
        run(&mut encoder, &teacher.train.forward);
        let answers = &self.data.answers;
        encoder.copy_buffer_to_buffer(&teacher.train.logits, 0, answers, 0, answers.size());
        self.queue.submit([encoder.finish()]);
    }

    pub(super) async fn advance(
        &mut self,
        first: usize,
        steps: usize,
        descent: Descent,
        measures: bool,
    ) -> Result<Progress, Error> {
        self.queue.write_buffer(&self.descent, 0, bytemuck::cast_slice(&[descent.rate, descent.momentum]));
        let mut encoder = self.encoder();
        for step in 0..steps {
            run(&mut encoder, [&self.gathered(first + step)].into_iter().chain(&self.batch.forward));
            for (_, bound) in &self.losses {
                bound.record(&mut encoder);
            }
            run(&mut encoder, &self.backward);
            for network in 0..self.count {
                let to = 4 * (step * self.count + network) as u64;
                encoder.copy_buffer_to_buffer(&self.loss, network as u64 * APART, &self.history, to, 4);
            }
        }
        let losses =
            BufferBinding { buffer: &self.history, offset: 0, size: BufferSize::new(4 * (steps * self.count) as u64) };
        let mut wanted = vec![losses];
        if measures {
            run(&mut encoder, self.test.forward.iter().chain(&self.judge));
            wanted.push(self.tallies.as_entire_buffer_binding());
        }
        // Any of the losses brings back whatever is asked for.
        let readback = self.losses[0].0.read(&mut encoder, &wanted)?;
        self.queue.submit([encoder.finish()]);
        let mut parts = arrived(readback).await?.into_iter();
        let mut part = || parts.next().map(|bytes| bytemuck::pod_collect_to_vec(&bytes));
        Ok(Progress { losses: part().unwrap_or_default(), tallies: part() })
    }

    /// The batch of a step, by its place in the schedule.
    fn gathered(&self, step: usize) -> Dispatch {
        let indices = (4 * BATCH) as u64;
        let batch = BufferBinding {
            buffer: &self.data.schedule,
            offset: (step % BATCHES) as u64 * indices,
            size: BufferSize::new(indices),
        };
        let entries = [
            (0, self.batch.x.as_entire_binding()),
            (8, BindingResource::Buffer(batch)),
            (9, self.data.images.as_entire_binding()),
            (10, self.data.labels.as_entire_binding()),
            (11, self.data.answers.as_entire_binding()),
            (12, self.data.batch_labels.as_entire_binding()),
            (13, self.data.batch_answers.as_entire_binding()),
        ];
        self.gather.bind_resources(entries, BATCH * PIXELS)
    }

    fn encoder(&self) -> CommandEncoder {
        self.device.create_command_encoder(&CommandEncoderDescriptor { label: Some("race") })
    }
}

/// Dispatches in one pass, one after the other.
fn run<'d>(encoder: &mut CommandEncoder, dispatches: impl IntoIterator<Item = &'d Dispatch>) {
    let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor { label: Some("race"), timestamp_writes: None });
    for dispatch in dispatches {
        dispatch.record(&mut pass);
    }
}

/// Makes buffers and pipelines.
struct Make<'a> {
    device: &'a Device,
    queue: &'a Queue,
}

impl Make<'_> {
    /// So many words, all of them 0.
    fn zeros(&self, label: &str, words: usize) -> Buffer {
        self.device.create_buffer(&BufferDescriptor {
            label: Some(label),
            size: 4 * words as u64,
            usage: BufferUsages::STORAGE | BufferUsages::UNIFORM | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        })
    }

    fn filled<T: Pod>(&self, label: &str, values: impl Iterator<Item = T>) -> Buffer {
        let values: Vec<T> = values.collect();
        let buffer = self.zeros(label, values.len());
        self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&values));
        buffer
    }

    /// What gives the kernel of an entry point, for so many networks of this width.
    fn kernels(&self, count: usize, width: usize) -> impl Fn(&str) -> Kernel + use<> {
        let device = self.device.clone();
        let module = device.create_shader_module(ShaderModuleDescriptor {
            label: Some("race"),
            source: ShaderSource::Wgsl(SHADER.into()),
        });
        let constants = [("NETWORKS", count as f64), ("HIDDEN", width as f64)];
        move |entry| {
            let pipeline = device.create_compute_pipeline(&ComputePipelineDescriptor {
                label: Some(&format!("race.{entry}")),
                layout: None,
                module: &module,
                entry_point: Some(entry),
                compilation_options: PipelineCompilationOptions { constants: &constants, ..Default::default() },
                cache: None,
            });
            Kernel { device: device.clone(), pipeline }
        }
    }
}

/// A pipeline of 64 invocations a workgroup.
struct Kernel {
    device: Device,
    pipeline: ComputePipeline,
}

/// A pipeline with its buffers.
struct Dispatch {
    pipeline: ComputePipeline,
    group: BindGroup,
    workgroups: u32,
}

impl Kernel {
    /// An invocation for each value of `output`.
    fn over(&self, output: &Buffer, buffers: &[(u32, &Buffer)]) -> Dispatch {
        self.bind(buffers, output.size() as usize / 4)
    }

    fn bind(&self, buffers: &[(u32, &Buffer)], invocations: usize) -> Dispatch {
        self.bind_resources(buffers.iter().map(|&(at, buffer)| (at, buffer.as_entire_binding())), invocations)
    }

    fn bind_resources<'b>(
        &self,
        resources: impl IntoIterator<Item = (u32, BindingResource<'b>)>,
        invocations: usize,
    ) -> Dispatch {
        let entries: Vec<_> =
            resources.into_iter().map(|(binding, resource)| BindGroupEntry { binding, resource }).collect();
        let group = self.device.create_bind_group(&BindGroupDescriptor {
            label: Some("race"),
            layout: &self.pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        Dispatch { pipeline: self.pipeline.clone(), group, workgroups: invocations.div_ceil(64) as u32 }
    }
}

impl Dispatch {
    fn record(&self, pass: &mut ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(self.workgroups, 1, 1);
    }
}
