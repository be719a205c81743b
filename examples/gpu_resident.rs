//! Trains on the GPU without leaving it: logits, loss, gradient and update of many steps in one encoder and one submit,
//! on a device that the example owns. `cargo run --release --example gpu_resident`
//!
//! The model is linear, logits = X W, so that the whole step fits here: two small kernels of ours around
//! `Bound::record`.

mod common;

use std::process::ExitCode;

use common::{Dataset, Result, Rng};
use deeploss::{Buffers, Context, CrossEntropy, Evaluate, INSTALL_A_DRIVER, Problem, Tensors};
use ndarray::Array2;

const CLASSES: usize = 10;
const STEPS: usize = 100;
const RATE: f32 = 0.3;
/// Largest relative difference of the final loss from the same training in f64.
const TOLERANCE: f64 = 1e-5;

/// One invocation per element of the output.
const SHADER: &str = r"
override ROWS: u32;
override FEATURES: u32;
override CLASSES: u32;
override RATE: f32;

@group(0) @binding(0) var<storage, read> x: array<f32>;             // (ROWS, FEATURES)
@group(0) @binding(1) var<storage, read_write> w: array<f32>;       // (FEATURES, CLASSES)
@group(0) @binding(2) var<storage, read_write> logits: array<f32>;  // (ROWS, CLASSES)
@group(0) @binding(3) var<storage, read> grad: array<f32>;          // (ROWS, CLASSES)

// logits = X W
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u) {
    if (id.x >= ROWS * CLASSES) { return; }
    let n = id.x / CLASSES;
    let c = id.x % CLASSES;
    var sum = 0.0;
    for (var f = 0u; f < FEATURES; f++) { sum += x[n * FEATURES + f] * w[f * CLASSES + c]; }
    logits[id.x] = sum;
}

// W -= RATE X^T grad
@compute @workgroup_size(64)
fn descend(@builtin(global_invocation_id) id: vec3u) {
    if (id.x >= FEATURES * CLASSES) { return; }
    let f = id.x / CLASSES;
    let c = id.x % CLASSES;
    var sum = 0.0;
    for (var n = 0u; n < ROWS; n++) { sum += x[n * FEATURES + f] * grad[n * CLASSES + c]; }
    w[id.x] -= RATE * sum;
}
";

fn main() -> ExitCode {
    common::finish(train())
}

fn train() -> Result<()> {
    let (train, test) = common::digits()?.split(0.8, &mut Rng::new(1));
    let (rows, features) = train.features.dim();

    // The application's own device; deeploss borrows it. WebGPU's default limits do, and some features make its kernels
    // faster.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster::block_on(wgpu::util::initialize_adapter_from_env_or_default(&instance, None))
        .map_err(|e| format!("no GPU adapter ({e}); {INSTALL_A_DRIVER}"))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        label: Some("gpu_resident"),
        required_features: adapter.features() & Context::FEATURES,
        ..Default::default()
    }))?;
    let ctx = Context::from_wgpu(&adapter, device.clone(), queue.clone());
    println!("device  {}", ctx.describe());

    let buffer = |label, values: usize| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: 4 * values as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        })
    };
    let x = buffer("gpu_resident.x", rows * features);
    let targets = buffer("gpu_resident.targets", rows);
    let w = buffer("gpu_resident.w", features * CLASSES); // starts as zeros
    let logits = buffer("gpu_resident.logits", rows * CLASSES);
    let grad = buffer("gpu_resident.grad", rows * CLASSES);
    let loss = buffer("gpu_resident.loss", 1);
    let losses = buffer("gpu_resident.losses", STEPS);
    queue.write_buffer(&x, 0, bytemuck::cast_slice(train.features.as_slice().ok_or("features are not row-major")?));
    queue.write_buffer(&targets, 0, bytemuck::cast_slice(train.labels.as_slice().ok_or("labels are not dense")?));

    let kernels = Kernels::new(&device, rows, features);
    let forward = kernels.forward(&device, [&x, &w, &logits]);
    let descend = kernels.descend(&device, [&x, &w, &grad]);
    let cross_entropy = CrossEntropy::new();
    let prepared = cross_entropy.prepare(&ctx, &Problem::rows(rows, CLASSES))?;
    let bound = prepared.bind(&Buffers {
        input: Some(logits.as_entire_buffer_binding()),
        target: Some(targets.as_entire_buffer_binding()),
        loss: Some(loss.as_entire_buffer_binding()),
        grad_input: Some(grad.as_entire_buffer_binding()),
        ..Default::default()
    })?;

    // Nothing below waits for the GPU until the readback at the end.
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("gpu_resident") });
    for step in 0..STEPS {
        forward.record(&mut encoder);
        bound.record(&mut encoder);
        descend.record(&mut encoder);
        encoder.copy_buffer_to_buffer(&loss, 0, &losses, 4 * step as u64, 4);
    }
    let readback = prepared.read(&mut encoder, &[losses.as_entire_buffer_binding(), w.as_entire_buffer_binding()])?;
    queue.submit([encoder.finish()]);
    let parts = readback.wait()?;
    let losses: Vec<f32> = bytemuck::pod_collect_to_vec(&parts[0]);
    let weight = Array2::from_shape_vec((features, CLASSES), bytemuck::pod_collect_to_vec(&parts[1]))?;

    for step in (0..STEPS).step_by(STEPS / 5).chain([STEPS - 1]) {
        println!("step {step:3}  loss {:.6}", losses[step]);
    }
    println!("test accuracy {:.1} %", 100.0 * common::accuracy(&test.features.dot(&weight), &test.labels));

    let (first, last) = (f64::from(losses[0]), f64::from(losses[STEPS - 1]));
    let exact = train_on_cpu(&cross_entropy, &train)?;
    let difference = ((last - exact) / exact).abs();
    println!("final loss {last:.6}; on the CPU in f64 {exact:.6}, relative difference {difference:.1e}");
    let (agrees, falls) = (difference <= TOLERANCE, last < 0.5 * first);
    if !agrees {
        return Err(format!("the final loss differs from the CPU's by more than {TOLERANCE:e}").into());
    }
    if !falls {
        return Err(format!("the loss did not fall enough: from {first} to {last}").into());
    }
    Ok(())
}

/// The same training with the CPU reference in double precision: the loss of the last step.
fn train_on_cpu(cross_entropy: &CrossEntropy, train: &Dataset) -> Result<f64> {
    let x = train.features.mapv(f64::from);
    let mut w = Array2::<f64>::zeros((x.ncols(), CLASSES));
    let mut loss = f64::NAN;
    for _ in 0..STEPS {
        let logits = x.dot(&w);
        let output = cross_entropy.reference(&Tensors::new(logits.view(), train.labels.view()))?;
        loss = output.scalar().ok_or("no loss")?;
        let grad: Array2<f64> = output.grad_input.ok_or("no gradient")?.into_dimensionality()?;
        w.scaled_add(-f64::from(RATE), &x.t().dot(&grad));
    }
    Ok(loss)
}

/// The example's two pipelines.
struct Kernels {
    forward: wgpu::ComputePipeline,
    descend: wgpu::ComputePipeline,
    /// Workgroups of each.
    groups: [u32; 2],
}

/// A pipeline with its buffers.
struct Dispatch<'k> {
    pipeline: &'k wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    groups: u32,
}

impl Kernels {
    fn new(device: &wgpu::Device, rows: usize, features: usize) -> Self {
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("gpu_resident"),
            source: wgpu::ShaderSource::Wgsl(SHADER.into()),
        });
        let constants = &[
            ("ROWS", rows as f64),
            ("FEATURES", features as f64),
            ("CLASSES", CLASSES as f64),
            ("RATE", f64::from(RATE)),
        ];
        let pipeline = |entry| {
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&format!("gpu_resident.{entry}")),
                layout: None,
                module: &module,
                entry_point: Some(entry),
                compilation_options: wgpu::PipelineCompilationOptions { constants, ..Default::default() },
                cache: None,
            })
        };
        let groups = [rows, features].map(|n| (n * CLASSES).div_ceil(64) as u32);
        Self { forward: pipeline("forward"), descend: pipeline("descend"), groups }
    }

    fn forward<'k>(&'k self, device: &wgpu::Device, [x, w, logits]: [&wgpu::Buffer; 3]) -> Dispatch<'k> {
        Dispatch::new(device, &self.forward, self.groups[0], [(0, x), (1, w), (2, logits)])
    }

    fn descend<'k>(&'k self, device: &wgpu::Device, [x, w, grad]: [&wgpu::Buffer; 3]) -> Dispatch<'k> {
        Dispatch::new(device, &self.descend, self.groups[1], [(0, x), (1, w), (3, grad)])
    }
}

impl<'k> Dispatch<'k> {
    fn new(
        device: &wgpu::Device,
        pipeline: &'k wgpu::ComputePipeline,
        groups: u32,
        buffers: [(u32, &wgpu::Buffer); 3],
    ) -> Self {
        let entries =
            buffers.map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() });
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("gpu_resident"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        Self { pipeline, group, groups }
    }

    fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(self.groups, 1, 1);
    }
}
