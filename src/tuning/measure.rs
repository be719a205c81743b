//! The stopwatch: times every strategy that could serve a problem, on tensors of its own.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Key, Tuning, element_wise};
use crate::context::Context;
use crate::error::Error;
use crate::gpu::Gpu;
use crate::gpu::faults::{checked, wait};
use crate::gpu::prepared::{Bound, Buffers, Prepared};
use crate::losses::Loss;
use crate::lowered::{Layout, RowLayout};
use crate::plan::strategy::{Demand, RowStrategy};
use crate::plan::{Plan, TensorId};
use crate::problem::{Dtype, Problem, TargetKind};
use crate::run::Evaluate;
use crate::sample::Rng;

/// Bytes of all tensors together that a measurement makes at most.
const MOST_BYTES: u64 = 256 << 20;
/// Random elements of a tensor; then they repeat. No power of two, so that rows differ.
const PATTERN: usize = 65_521;
const ROUNDS: usize = 7;
/// A strategy this many times slower than the fastest is measured no further.
const HOPELESS: u32 = 3;
/// Short calls are repeated within a submit until they take as long.
const SUBMIT: Duration = Duration::from_millis(2);

/// What [`measure`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Every strategy that ran, with the median time of a call, the fastest first.
    pub times: Vec<(RowStrategy, Duration)>,
}

impl Measured {
    /// The fastest strategy.
    #[must_use]
    pub fn best(&self) -> RowStrategy {
        self.times.first().map_or(RowStrategy::Thread, |&(strategy, _)| strategy)
    }
}

/// Times a call with every strategy that its table and adapter allow, and some near them, on random tensors of its own. Supports
/// turns between them, so that what disturbs one disturbs all; blocks for some seconds at most.
///
/// # Errors
/// As [`Evaluate::prepare`]; [`Error::Unsupported`] of element-wise losses, which have one strategy only, and where the tensors
/// would take more than 256 MiB together.
///
/// ```no_run
/// use deeploss::{Context, CrossEntropy, Problem};
///
/// let measured = deeploss::measure(&Context::new()?, &CrossEntropy::new(), &Problem::rows(4096, 1000))?;
/// for (strategy, time) in &measured.times {
///     println!("{strategy:14} {time:?}");
/// }
/// # Ok::<(), deeploss::Error>(())
/// ```
pub fn measure(ctx: &Context, loss: &dyn Loss, problem: &Problem) -> Result<Measured, Error> {
    let gpu = ctx.require_gpu()?;
    let lowered = loss.lower(problem)?;
    let Layout::Rows(rows) = &lowered.layout else { return Err(element_wise()) };
    let table = Plan::new(&lowered, problem, &gpu.facts, None)?;
    let bytes = table.sizes().iter().map(|(_, size)| size).sum::<u64>();
    if bytes > MOST_BYTES {
        return Err(Error::Unsupported {
            what: format!("measuring a call with tensors of {bytes} bytes"),
            why: format!("a measurement makes tensors of its own, of {MOST_BYTES} bytes at most"),
            instead: "measure fewer rows, or insert the strategy by hand",
        });
    }
    let tensors = checked(&gpu.device, "the tensors of a measurement", || OwnTensors::new(gpu, rows, problem, &table))?;
    let demand = Demand::of(rows, problem);
    let mut prepared = Vec::new();
    for strategy in RowStrategy::worth_measuring(&gpu.facts, demand) {
        match loss.prepare_with(ctx, problem, Some(strategy)) {
            Ok(call) => prepared.push((strategy, call)),
            // Too many groups, or too much scratch.
            Err(Error::Unsupported { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let mut calls = Vec::new();
    for (strategy, call) in &prepared {
        let bound = call.bind(&tensors.buffers(call))?;
        submit(gpu, &bound, 1)?;
        calls.push(Call { strategy: *strategy, bound, times: vec![] });
    }
    for call in &mut calls {
        call.times.push(submit(gpu, &call.bound, 1)?);
    }
    let fastest = calls.iter().map(Call::median).min().unwrap_or_default();
    let repeats = (SUBMIT.as_nanos() / fastest.as_nanos().max(1)).clamp(1, 64) as u32;
    let (mut close, far): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.median() <= fastest * HOPELESS);
    close.iter_mut().for_each(|call| call.times.clear());
    for _ in 0..ROUNDS {
        for call in &mut close {
            call.times.push(submit(gpu, &call.bound, repeats)?);
        }
    }
    let mut times: Vec<_> = close.iter().chain(&far).map(|call| (call.strategy, call.median())).collect();
    // Those that were measured no further come last, and equal ones stay in the table's order.
    times[..close.len()].sort_by_key(|&(_, time)| time);
    times[close.len()..].sort_by_key(|&(_, time)| time);
    Ok(Measured { times })
}

/// A context that follows the strategy measured for this problem: found in the file, or [`measure`]d now and added to the file,
/// which is made if there is none. Of element-wise losses nothing is measured. What `ctx` was tuned with stays, where the file
/// has no entry.
///
/// # Errors
/// As [`measure`]; [`Error::File`] if the file cannot be read or written, is no tuning, or was made on another adapter or by
/// another version of the crate: it is left as it is then.
///
/// ```no_run
/// use deeploss::{Context, CrossEntropy, Evaluate, Problem};
///
/// let (loss, problem) = (CrossEntropy::new(), Problem::rows(4096, 1000));
/// let ctx = deeploss::autotune(&Context::new()?, &loss, &problem, "deeploss.tuning")?;
/// println!("{}", loss.prepare(&ctx, &problem)?.plan());
/// # Ok::<(), deeploss::Error>(())
/// ```
pub fn autotune(ctx: &Context, loss: &dyn Loss, problem: &Problem, path: impl AsRef<Path>) -> Result<Context, Error> {
    let path = path.as_ref();
    let gpu = ctx.require_gpu()?;
    let here = Tuning::here(&gpu.facts);
    let mut tuning = match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Tuning { origin: here, ..Tuning::default() },
        _ => Tuning::load(path)?,
    };
    if !tuning.is_for(&gpu.facts) {
        let detail = format!(
            "was made for {}, but this is {}; name another file, or delete it",
            tuning.origin,
            Tuning::here(&gpu.facts)
        );
        return Err(Error::file(path.display().to_string(), detail));
    }
    if let Some(key) = Key::of(loss.info().name, &loss.lower(problem)?, problem)
        && !tuning.entries.contains_key(&key)
    {
        let strategy = measure(ctx, loss, problem)?.best();
        log::info!("deeploss measured {key}: {strategy}");
        tuning.entries.insert(key, strategy);
        tuning.save(path)?;
    }
    for (key, strategy) in &ctx.tuning().entries {
        tuning.entries.entry(key.clone()).or_insert(*strategy);
    }
    Ok(ctx.with_tuning(tuning.runtime_checks(ctx.tuning().checks())))
}

struct Call {
    strategy: RowStrategy,
    bound: Bound,
    times: Vec<Duration>,
}

impl Call {
    fn median(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort();
        times.get(times.len() / 2).copied().unwrap_or(Duration::MAX)
    }
}

/// Time of one call, of so many in a submit.
fn submit(gpu: &Gpu, bound: &Bound, repeats: u32) -> Result<Duration, Error> {
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    for _ in 0..repeats {
        bound.record(&mut encoder);
    }
    let start = Instant::now();
    gpu.queue.submit([encoder.finish()]);
    wait(&gpu.device)?;
    Ok(start.elapsed() / repeats)
}

/// Tensors of a measurement.
struct OwnTensors(Vec<(TensorId, wgpu::Buffer)>);

impl OwnTensors {
    fn new(gpu: &Gpu, rows: &RowLayout, problem: &Problem, plan: &Plan) -> Self {
        let make = |&(tensor, size): &(TensorId, u64)| {
            let bytes = contents(tensor, size as usize, rows, problem);
            (tensor, gpu.filled_buffer(tensor.name(), &bytes, wgpu::BufferUsages::STORAGE))
        };
        Self(plan.sizes().iter().filter(|(_, size)| *size > 0).map(make).collect())
    }

    /// Those that a call takes.
    fn buffers(&self, call: &Prepared) -> Buffers<'_> {
        Buffers::from_fn(|wanted| {
            let found = self.0.iter().find(|(tensor, _)| *tensor == wanted && call.takes(wanted));
            found.map(|(_, buffer)| buffer.as_entire_buffer_binding())
        })
    }
}

/// Logits of a normal distribution, classes in range, uniform probabilities; elsewhere 1, and outputs 0.
fn contents(tensor: TensorId, size: usize, rows: &RowLayout, problem: &Problem) -> Vec<u8> {
    let classes = rows.shape.classes;
    let mut rng = Rng::new(1);
    let count = PATTERN.min(size);
    let pattern: Vec<u8> = match tensor {
        TensorId::Input => {
            let logits = (0..count).map(|_| 3.0 * rng.normal());
            match problem.input_dtype {
                Dtype::F32 => logits.flat_map(f32::to_le_bytes).collect(),
                Dtype::F16 => logits.flat_map(|x| f16_bits(x).to_le_bytes()).collect(),
                Dtype::Bf16 => logits.flat_map(|x| ((x.to_bits() >> 16) as u16).to_le_bytes()).collect(),
            }
        }
        // Some labels, then the end of the list, which need not be where a row begins.
        TensorId::Target if rows.has_lists() => {
            let labels = (0..count).map(|i| if i % 3 == 2 { -1 } else { rng.below(classes) as i32 });
            labels.flat_map(i32::to_le_bytes).collect()
        }
        TensorId::Target if problem.target == TargetKind::Indices => {
            (0..count).flat_map(|_| (rng.below(classes) as i32).to_le_bytes()).collect()
        }
        TensorId::Target | TensorId::Input2 => (0..count).flat_map(|_| rng.uniform().to_le_bytes()).collect(),
        TensorId::Weight | TensorId::PosWeight | TensorId::SampleWeight | TensorId::GradOutput => {
            1.0_f32.to_le_bytes().to_vec()
        }
        _ => return vec![0; size],
    };
    let mut bytes = pattern.repeat(size.div_ceil(pattern.len()));
    bytes.truncate(size);
    bytes
}

/// A logit as f16, its last digits cut off; 0 below the normal numbers.
fn f16_bits(x: f32) -> u16 {
    let (sign, magnitude) = (x.to_bits() >> 16 & 0x8000, x.to_bits() & 0x7fff_ffff);
    let moved = magnitude.saturating_sub(112 << 23) >> 13;
    (sign | if moved < 0x400 { 0 } else { moved }) as u16
}
