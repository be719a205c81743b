//! Demo: trains a two-layer network on handwritten digits; every step's loss and logit gradient come from the GPU.
//! `cargo xtask demo`, or `cargo run --release --example digits`. Without an adapter the losses are computed on the
//! CPU.

mod common;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use common::{Dataset, Network, Panel, Result, Rng, Series, Sgd};
use deeploss::{Buffers, Context, CrossEntropy, Evaluate, Prepared, Problem, Tensors, Want};
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::{Array1, Array2, ArrayView, Dimension};

const SEED: u64 = 3;
const HIDDEN: usize = 128;
const CLASSES: usize = 10;
const EPOCHS: usize = 30;
const SGD: Sgd = Sgd { rate: 0.1, momentum: 0.9, decay: 0.0, batch: 64 };

/// What the demo promises: right answers on images it was not trained on, and losses that agree with the CPU's.
const ACCURACY: f64 = 0.96;
const DIFFERENCE: f64 = 1e-5;

fn main() -> ExitCode {
    common::finish(demo())
}

fn demo() -> Result<()> {
    let ctx = common::context();
    let mut rng = Rng::new(SEED);
    let (train, test) = common::digits()?.split(0.8, &mut rng);
    println!("data        handwritten digits, 8x8 pixels: {} to train on, {} to test", train.len(), test.len());
    println!(
        "network     {}-{HIDDEN}-{CLASSES}, ReLU; SGD, momentum {}, rate {}, batches of {}\n",
        train.features.ncols(),
        SGD.momentum,
        SGD.rate,
        SGD.batch
    );

    let mut network = Network::new(train.features.ncols(), &[HIDDEN], CLASSES, &mut rng);
    let batches = Batches::new(ctx, &train)?;
    let mut record = Record::default();
    record.epoch(&network, &batches, &train, &test)?;
    let bar = progress_bar();
    for epoch in 1..=EPOCHS {
        let mut order: Vec<usize> = (0..train.len()).collect();
        rng.shuffle(&mut order);
        for rows in order.chunks(SGD.batch) {
            let batch = train.select(rows);
            let start = Instant::now();
            let pass = network.forward(&batch.features);
            let loss_start = Instant::now();
            let (loss, grad) = batches.loss_and_grad(&pass.logits, &batch.labels)?;
            let loss_time = loss_start.elapsed();
            network.step(&batch.features, &pass, &grad, SGD);
            record.step(start.elapsed(), loss_time);
            record.compare(&batches.loss, &pass.logits, &batch.labels, loss, &grad)?;
        }
        record.epoch(&network, &batches, &train, &test)?;
        let line = record.last_epoch();
        bar.set_message(line.clone());
        bar.inc(1);
        if bar.is_hidden() && epoch % 5 == 0 {
            println!("epoch {epoch:2}/{EPOCHS}  {line}");
        }
    }
    bar.finish();
    println!();
    record.report(batches.ctx.device().is_some())
}

/// On stderr; hidden where that is no terminal.
fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("epoch {pos:>2}/{len} {bar:24} {msg}");
    ProgressBar::new(EPOCHS as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Loss and logit gradient of training batches: on the GPU with everything made once per batch size, or on the CPU.
struct Batches {
    ctx: Context,
    loss: CrossEntropy,
    /// One per batch size; empty on the CPU.
    calls: Vec<Call>,
}

/// A prepared loss with its buffers.
struct Call {
    rows: usize,
    prepared: Prepared,
    logits: wgpu::Buffer,
    targets: wgpu::Buffer,
    loss: wgpu::Buffer,
    grad: wgpu::Buffer,
}

impl Batches {
    fn new(ctx: Context, train: &Dataset) -> Result<Self> {
        let loss = CrossEntropy::new();
        let mut calls = Vec::new();
        if let Some(device) = ctx.device() {
            // The last batch of an epoch is what remains.
            for rows in [SGD.batch, train.len() % SGD.batch].into_iter().filter(|&rows| rows > 0) {
                let buffer = |label, values: usize| {
                    device.create_buffer(&wgpu::BufferDescriptor {
                        label: Some(label),
                        size: 4 * values as u64,
                        usage: wgpu::BufferUsages::STORAGE
                            | wgpu::BufferUsages::COPY_DST
                            | wgpu::BufferUsages::COPY_SRC,
                        mapped_at_creation: false,
                    })
                };
                calls.push(Call {
                    rows,
                    prepared: loss.prepare(&ctx, &Problem::rows(rows, CLASSES))?,
                    logits: buffer("digits.logits", rows * CLASSES),
                    targets: buffer("digits.targets", rows),
                    loss: buffer("digits.loss", 1),
                    grad: buffer("digits.grad", rows * CLASSES),
                });
            }
        }
        Ok(Self { ctx, loss, calls })
    }

    /// Mean loss of a batch, and its gradient with respect to the logits.
    fn loss_and_grad(&self, logits: &Array2<f32>, labels: &Array1<i32>) -> Result<(f32, Array2<f32>)> {
        let call = self.calls.iter().find(|call| call.rows == labels.len());
        if let (Some(call), Some(device), Some(queue)) = (call, self.ctx.device(), self.ctx.queue()) {
            return call.run(device, queue, logits, labels);
        }
        common::loss_and_grad(self.loss.evaluate(&self.ctx, &Tensors::new(logits.view(), labels.view()))?)
    }
}

impl Call {
    /// Upload, record, submit, read back. A loop that keeps its network on the GPU leaves out the first and the last:
    /// see gpu_resident.rs.
    fn run(
        &self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        logits: &Array2<f32>,
        labels: &Array1<i32>,
    ) -> Result<(f32, Array2<f32>)> {
        queue.write_buffer(&self.logits, 0, dense(logits.view())?);
        queue.write_buffer(&self.targets, 0, dense(labels.view())?);
        let buffers = Buffers {
            input: Some(self.logits.as_entire_buffer_binding()),
            target: Some(self.targets.as_entire_buffer_binding()),
            loss: Some(self.loss.as_entire_buffer_binding()),
            grad_input: Some(self.grad.as_entire_buffer_binding()),
            ..Default::default()
        };
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("digits.step") });
        self.prepared.record(&mut encoder, &buffers)?;
        let outputs = [self.loss.as_entire_buffer_binding(), self.grad.as_entire_buffer_binding()];
        let readback = self.prepared.read(&mut encoder, &outputs)?;
        queue.submit([encoder.finish()]);
        let parts = readback.wait()?;
        let loss: Vec<f32> = bytemuck::pod_collect_to_vec(&parts[0]);
        Ok((loss[0], Array2::from_shape_vec(logits.dim(), bytemuck::pod_collect_to_vec(&parts[1]))?))
    }
}

/// The bytes of an array in row-major order.
fn dense<T: bytemuck::Pod, D: Dimension>(values: ArrayView<'_, T, D>) -> Result<&[u8]> {
    Ok(bytemuck::cast_slice(values.to_slice().ok_or("expected an array in row-major order")?))
}

/// Everything measured along the way.
#[derive(Default)]
struct Record {
    step_times: Vec<Duration>,
    loss_times: Vec<Duration>,
    /// Largest differences from the reference in f64.
    loss_difference: f64,
    grad_difference: f64,
    /// Per epoch, from before the first on.
    train_loss: Vec<f64>,
    test_loss: Vec<f64>,
    train_accuracy: Vec<f64>,
    test_accuracy: Vec<f64>,
}

impl Record {
    fn step(&mut self, step: Duration, loss: Duration) {
        self.step_times.push(step);
        self.loss_times.push(loss);
    }

    /// Compares a step's loss and gradient with what the CPU finds in double precision for the same logits.
    fn compare(
        &mut self,
        cross_entropy: &CrossEntropy,
        logits: &Array2<f32>,
        labels: &Array1<i32>,
        loss: f32,
        grad: &Array2<f32>,
    ) -> Result<()> {
        let logits = logits.mapv(f64::from);
        let exact = cross_entropy.reference(&Tensors::new(logits.view(), labels.view()))?;
        let exact_loss = exact.scalar().ok_or("no reference loss")?;
        let exact_grad = exact.grad_input.ok_or("no reference gradient")?;
        self.loss_difference = larger(self.loss_difference, (f64::from(loss) - exact_loss).abs());
        for (&got, &want) in grad.iter().zip(&exact_grad) {
            self.grad_difference = larger(self.grad_difference, (f64::from(got) - want).abs());
        }
        Ok(())
    }

    /// Losses and accuracies over the whole data sets, through the host API.
    fn epoch(&mut self, network: &Network, batches: &Batches, train: &Dataset, test: &Dataset) -> Result<()> {
        let measure = |data: &Dataset, losses: &mut Vec<f64>, accuracies: &mut Vec<f64>| -> Result<()> {
            let logits = network.forward(&data.features).logits;
            let tensors = Tensors::new(logits.view(), data.labels.view()).wants(Want::LOSS);
            let output = batches.loss.evaluate(&batches.ctx, &tensors)?;
            losses.push(f64::from(output.scalar().ok_or("no loss")?));
            accuracies.push(common::accuracy(&logits, &data.labels));
            Ok(())
        };
        measure(train, &mut self.train_loss, &mut self.train_accuracy)?;
        measure(test, &mut self.test_loss, &mut self.test_accuracy)
    }

    fn last_epoch(&self) -> String {
        let (loss, accuracy) = (common::last(&self.train_loss), common::last(&self.test_accuracy));
        format!("training loss {loss:.4}, test accuracy {:.1} %", 100.0 * accuracy)
    }

    /// Prints and draws it all.
    ///
    /// # Errors
    /// What the demo promised and did not keep.
    fn report(&self, on_gpu: bool) -> Result<()> {
        let file = common::output_file("digits.svg")?;
        let curve = |name, values| Series { name, values };
        let losses = [curve("training", &self.train_loss), curve("test", &self.test_loss)];
        let accuracies = [curve("training", &self.train_accuracy), curve("test", &self.test_accuracy)];
        let panels =
            [Panel { title: "Cross-entropy", series: &losses }, Panel { title: "Accuracy", series: &accuracies }];
        common::draw_curves(&file, "epoch", 0, &panels)?;

        let accuracy = common::last(&self.test_accuracy);
        let (step, loss) = (median(&self.step_times), median(&self.loss_times));
        println!("accuracy    {:.1} % of the test images", 100.0 * accuracy);
        println!(
            "difference  loss {:.1e}, gradient {:.1e}: largest of {} steps, from the CPU reference in f64",
            self.loss_difference,
            self.grad_difference,
            self.step_times.len()
        );
        let transfers = if on_gpu { " with upload and readback" } else { "" };
        println!("step        {step:.2?} (median), of which {loss:.2?} for loss and gradient{transfers}");
        println!("curves      {}", file.display());

        let agrees = self.loss_difference <= DIFFERENCE && self.grad_difference <= DIFFERENCE;
        if !agrees {
            return Err(format!("loss or gradient differ from the CPU reference by more than {DIFFERENCE:e}").into());
        }
        if accuracy < ACCURACY {
            return Err(format!("expected an accuracy of at least {} %", 100.0 * ACCURACY).into());
        }
        Ok(())
    }
}

/// The larger one; unlike `f64::max`, NaN if one is NaN.
fn larger(a: f64, b: f64) -> f64 {
    if a >= b || a.is_nan() { a } else { b }
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
