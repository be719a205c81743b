//! Throughput of every loss of the table beside copy kernels that move the same logits: `cargo bench --bench throughput`.
//!
//! Absolute times of shared machines mean little, so each loss is timed in turn with the copies, in one process, and told as
//! a multiple of the best copy. Nothing is timed before its result has been checked.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use deeploss::{Answer, Buffers, Context, LOSSES, Loss, LossInfo, OwnedTensors, Plan, Prepared, Target, Tensor, Want};
use ndarray::ArrayViewD;
use wgpu::util::{BufferInitDescriptor, DeviceExt};

const HELP: &str = "\
Time of every loss and its gradient, beside copy kernels over the same logits.

usage: cargo bench --bench throughput -- [options]

  --csv FILE        also write the measurements there
  --only OP,OP      these losses only, by their names in the table of losses
  --shapes NxC,..   these inputs only (default 8192x10,4096x1000,1024x32000,256x128256)
  --repeat N        rounds at least (default 7); more are made while they take little time
  --help            this text

What is timed: one call is prepared and bound once; a sample is the wall time of making an encoder, recording, submitting
and waiting for the device, with a single call in the submit. A round takes one sample of each mode and of each copy.

Modes: loss, grad, both (one fused call). The loss is the first variant of its row in the table, mean over the batch.

GB/s counts every tensor of the call once: the least that must move. With b bytes of logits and class indices as targets
that is b (loss) or 2 b (grad, both); a target or second input of the logits' shape adds b. A kernel that reads its logits
twice moves more than that, one that needs only some of them (nll_loss) less. A copy moves 2 b.

x copy is the median over the best median of the copies that were timed in turn with it, which read the loss' own input and
write over its gradient.

CSV: library,op,mode,N,C,ms_median,ms_min,GB/s,ratio_to_copy. The library is deeploss or copy; in a row of a copy, op is the
loss that it was timed with, and mode the copy kernel.

exit status: 0; 1 if there is no adapter or a result is wrong; 2 if the arguments are
";

const SHAPES: [[usize; 2]; 4] = [[8192, 10], [4096, 1000], [1024, 32_000], [256, 128_256]];
const REPEAT: usize = 7;
/// Rounds go on until they have taken so long: the median of a short call needs more of them.
const ROUNDS_TIME: Duration = Duration::from_secs(2);
const MAX_ROUNDS: usize = 201;
const WARM_UP_ROUNDS: usize = 2;
const SEED: u64 = 1;
/// Of a tensor's largest magnitude.
const TOLERANCE: f32 = 1e-5;
const CSV_HEADER: &str = "library,op,mode,N,C,ms_median,ms_min,GB/s,ratio_to_copy";

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("error: {message} (`--help` lists the options)");
            return ExitCode::from(2);
        }
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Args {
    csv: Option<PathBuf>,
    losses: Vec<&'static LossInfo>,
    shapes: Vec<[usize; 2]>,
    repeat: usize,
}

impl Args {
    /// `None`: the help text is asked for.
    fn parse(mut given: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut args = Self { csv: None, losses: LOSSES.iter().collect(), shapes: SHAPES.to_vec(), repeat: REPEAT };
        while let Some(name) = given.next() {
            let mut value = || given.next().ok_or_else(|| format!("`{name}` needs a value"));
            match name.as_str() {
                // Cargo passes it to every bench.
                "--bench" => {}
                "--help" | "-h" => return Ok(None),
                "--csv" => args.csv = Some(value()?.into()),
                "--only" => args.losses = value()?.split(',').map(loss_named).collect::<Result<_, _>>()?,
                "--shapes" => args.shapes = value()?.split(',').map(shape).collect::<Result<_, _>>()?,
                "--repeat" => {
                    let text = value()?;
                    args.repeat =
                        positive(&text).ok_or_else(|| format!("`--repeat` takes a positive number, got `{text}`"))?;
                }
                _ => return Err(format!("unknown argument `{name}`")),
            }
        }
        Ok(Some(args))
    }
}

fn loss_named(name: &str) -> Result<&'static LossInfo, String> {
    LOSSES.iter().find(|info| info.name == name).ok_or_else(|| {
        let names: Vec<_> = LOSSES.iter().map(|info| info.name).collect();
        format!("no loss is named `{name}`; there are {}", names.join(", "))
    })
}

fn shape(text: &str) -> Result<[usize; 2], String> {
    let sides = text.split_once('x').and_then(|(n, c)| Some([positive(n)?, positive(c)?]));
    sides.ok_or_else(|| format!("a shape is NxC, as in 4096x1000, got `{text}`"))
}

fn positive(text: &str) -> Option<usize> {
    text.parse().ok().filter(|&n| n > 0)
}

fn run(args: &Args) -> Outcome<()> {
    let ctx = Context::new()?;
    let mut csv = match &args.csv {
        Some(path) => Some(File::create(path).map_err(|e| format!("cannot write {}: {e}", path.display()))?),
        None => None,
    };
    if let Some(file) = &mut csv {
        writeln!(file, "{CSV_HEADER}")?;
    }
    print_header(&ctx);
    for &shape in &args.shapes {
        for info in &args.losses {
            let block = measure(&ctx, info, shape, args.repeat)?;
            block.print();
            if let Some(file) = &mut csv {
                block.rows.iter().try_for_each(|row| writeln!(file, "{}", row.csv(&block)))?;
            }
        }
    }
    Ok(())
}

fn print_header(ctx: &Context) {
    if let Some(facts) = ctx.facts() {
        println!("adapter   {}", facts.name);
        println!("backend   {}{}", facts.backend, if facts.is_cpu { ", on the CPU" } else { "" });
        println!("subgroup  {:?}, f16 {}", facts.subgroup, facts.f16);
        println!("binding   {} bytes at most", facts.max_binding);
    }
    if let Some(device) = ctx.device() {
        println!("features  {:?}", device.features());
    }
    println!("time      wall clock from recording to the end of the wait, one call in a submit");
}

/// All measurements of one loss on one shape, which were taken in turn.
struct Block {
    op: &'static str,
    shape: [usize; 2],
    rounds: usize,
    strategy: String,
    rows: Vec<Row>,
}

struct Row {
    library: &'static str,
    mode: &'static str,
    ms_median: f64,
    ms_min: f64,
    gb_per_s: f64,
    ratio: f64,
}

impl Row {
    fn csv(&self, block: &Block) -> String {
        let [n, c] = block.shape;
        let Self { library, mode, ms_median, ms_min, gb_per_s, ratio } = self;
        format!("{library},{},{mode},{n},{c},{ms_median:.4},{ms_min:.4},{gb_per_s:.3},{ratio:.3}", block.op)
    }
}

impl Block {
    fn print(&self) {
        let [n, c] = self.shape;
        println!("\n{} ({n}, {c}), {} rounds, {}", self.op, self.rounds, self.strategy);
        println!("  {:20} {:>10} {:>10} {:>8} {:>8}", "", "ms median", "ms min", "GB/s", "x copy");
        for row in &self.rows {
            let name = if row.library == "copy" { format!("copy {}", row.mode) } else { row.mode.to_owned() };
            println!("  {name:20} {:10.4} {:10.4} {:8.2} {:8.2}", row.ms_median, row.ms_min, row.gb_per_s, row.ratio);
        }
    }
}

fn modes() -> [(&'static str, Want); 3] {
    [("loss", Want::LOSS), ("grad", Want::GRAD), ("both", Want::LOSS | Want::GRAD)]
}

/// Checks, then times one loss in all modes and every copy on its input.
fn measure(ctx: &Context, info: &LossInfo, shape: [usize; 2], repeat: usize) -> Outcome<Block> {
    let (Some(device), Some(queue)) = (ctx.device(), ctx.queue()) else {
        return Err("a context without a device".into());
    };
    let name = |what: &str| format!("{} of {} {shape:?}", what, info.name);
    let loss = (info.variants)(shape[1]).into_iter().next().ok_or_else(|| name("no variants"))?;
    let host = loss.sample(&shape, SEED);
    let reference = loss.evaluate_with(&Context::cpu(), &host.view(), Want::LOSS | Want::GRAD)?;

    let prepared = modes().map(|(mode, want)| {
        let problem = host.view().problem(want);
        loss.prepare(ctx, &problem).map(|prepared| (mode, prepared))
    });
    let prepared = prepared.into_iter().collect::<Result<Vec<_>, _>>()?;
    // The last mode has every output.
    let plan = prepared.last().map(|(_, prepared)| prepared.plan()).ok_or("no modes")?;
    let resident = Resident::upload(device, loss.as_ref(), &host, plan);
    let (input, scratch) = (resident.get(Tensor::Input), resident.get(Tensor::GradInput));
    let (Some(input), Some(scratch)) = (input, scratch) else { return Err(name("no input or no gradient").into()) };

    let mut subjects = Vec::new();
    for (mode, prepared) in &prepared {
        let bound = prepared.bind(&resident.buffers())?;
        check_loss(device, queue, prepared, &resident, &reference).map_err(|e| format!("{}: {e}", name(mode)))?;
        let bytes = prepared.plan().sizes.iter().map(|&(_, size)| size).sum();
        subjects.push(Subject::new("deeploss", mode, bytes, move |encoder| bound.record(encoder)));
    }
    for copy in Copy::all(input.size()) {
        let bound = copy.bind(device, input, scratch);
        bound.check(device, queue, &host, scratch).map_err(|e| format!("{}: {e}", name(copy.name)))?;
        subjects.push(Subject::new("copy", copy.name, 2 * input.size(), move |encoder| bound.record(encoder)));
    }
    drop((host, reference));

    let rounds = time_in_turn(device, queue, &mut subjects, repeat)?;
    let (strategy, reason) = plan.strategy;
    let strategy = format!("{strategy:?} ({reason})");
    Ok(Block { op: info.name, shape, rounds, strategy, rows: rows(&subjects) })
}

fn rows(subjects: &[Subject<'_>]) -> Vec<Row> {
    let best_copy = subjects.iter().filter(|s| s.library == "copy").map(Subject::median).fold(f64::INFINITY, f64::min);
    let row = |subject: &Subject<'_>| {
        let median = subject.median();
        Row {
            library: subject.library,
            mode: subject.mode,
            ms_median: 1e3 * median,
            ms_min: 1e3 * subject.seconds.iter().copied().fold(f64::INFINITY, f64::min),
            gb_per_s: 1e-9 * subject.bytes as f64 / median,
            ratio: median / best_copy,
        }
    };
    subjects.iter().map(row).collect()
}

/// Something that is timed.
struct Subject<'a> {
    library: &'static str,
    mode: &'static str,
    bytes: u64,
    record: Box<dyn Fn(&mut wgpu::CommandEncoder) + 'a>,
    seconds: Vec<f64>,
}

impl<'a> Subject<'a> {
    fn new(
        library: &'static str,
        mode: &'static str,
        bytes: u64,
        record: impl Fn(&mut wgpu::CommandEncoder) + 'a,
    ) -> Self {
        Self { library, mode, bytes, record: Box::new(record), seconds: Vec::new() }
    }

    fn sample(&self, device: &wgpu::Device, queue: &wgpu::Queue) -> Outcome<f64> {
        let start = Instant::now();
        submit(device, queue, |encoder| (self.record)(encoder))?;
        Ok(start.elapsed().as_secs_f64())
    }

    fn median(&self) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// Round after round of one sample each, so that whatever else the machine does hits all subjects alike.
fn time_in_turn(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    subjects: &mut [Subject<'_>],
    repeat: usize,
) -> Outcome<usize> {
    for _ in 0..WARM_UP_ROUNDS {
        for subject in &*subjects {
            subject.sample(device, queue)?;
        }
    }
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < repeat || (start.elapsed() < ROUNDS_TIME && rounds < MAX_ROUNDS) {
        for subject in &mut *subjects {
            let seconds = subject.sample(device, queue)?;
            subject.seconds.push(seconds);
        }
        rounds += 1;
    }
    Ok(rounds)
}

fn submit(device: &wgpu::Device, queue: &wgpu::Queue, record: impl FnOnce(&mut wgpu::CommandEncoder)) -> Outcome<()> {
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("deeploss.bench") });
    record(&mut encoder);
    queue.submit([encoder.finish()]);
    device.poll(wgpu::PollType::wait_indefinitely())?;
    Ok(())
}

/// The tensors of one loss on the GPU, where a caller would have them.
struct Resident {
    buffers: Vec<(Tensor, u64, wgpu::Buffer)>,
}

impl Resident {
    /// Inputs with the host's values, outputs empty. A loss with more tensors needs a line here and one in `buffers`.
    fn upload(device: &wgpu::Device, loss: &dyn Loss, host: &OwnedTensors, plan: &Plan) -> Self {
        let host = host.view();
        let floats = |values: ArrayViewD<'_, f32>| values.iter().flat_map(|v| v.to_ne_bytes()).collect::<Vec<_>>();
        // An ignored index may exceed the 32 bits of a label; then the lowest one stands for it.
        let label = |v: i64| if loss.ignores(v) { i32::try_from(v).unwrap_or(i32::MIN) } else { v as i32 };
        let contents = |tensor| match (tensor, &host.target) {
            (Tensor::Input, _) => Some(floats(host.input.view())),
            (Tensor::Input2, _) => host.input2.as_ref().map(|values| floats(values.view())),
            (Tensor::Target, Target::Values(values)) => Some(floats(values.view())),
            (Tensor::Target, Target::Indices(labels)) => {
                Some(labels.iter().flat_map(|&v| label(v).to_ne_bytes()).collect())
            }
            (Tensor::IgnoreMask, _) => {
                let mask = host.ignore_mask.as_ref();
                mask.map(|mask| mask.iter().flat_map(|&ignored| u32::from(ignored).to_ne_bytes()).collect())
            }
            _ => tensor.is_output().then(Vec::new),
        };
        // Weights that are options of the loss are its own affair; of anything else that is left out, `bind` complains.
        let buffers = plan.sizes.iter().filter_map(|&(tensor, size)| {
            let mut bytes = contents(tensor)?;
            // Whole vectors, for the copies.
            bytes.resize(size.next_multiple_of(VECTOR) as usize, 0);
            let buffer = device.create_buffer_init(&BufferInitDescriptor {
                label: Some(tensor.name()),
                contents: &bytes,
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            });
            Some((tensor, size, buffer))
        });
        Self { buffers: buffers.collect() }
    }

    fn get(&self, tensor: Tensor) -> Option<&wgpu::Buffer> {
        self.buffers.iter().find(|(t, _, _)| *t == tensor).map(|(_, _, buffer)| buffer)
    }

    /// Without the padding.
    fn range(&self, tensor: Tensor) -> Option<wgpu::BufferBinding<'_>> {
        let (_, size, buffer) = self.buffers.iter().find(|(t, _, _)| *t == tensor)?;
        Some(wgpu::BufferBinding { buffer, offset: 0, size: wgpu::BufferSize::new(*size) })
    }

    fn buffers(&self) -> Buffers<'_> {
        Buffers {
            input: self.range(Tensor::Input),
            input2: self.range(Tensor::Input2),
            target: self.range(Tensor::Target),
            ignore_mask: self.range(Tensor::IgnoreMask),
            loss: self.range(Tensor::Loss),
            grad_input: self.range(Tensor::GradInput),
            ..Buffers::default()
        }
    }
}

/// Runs one prepared call and compares what it leaves with the reference.
fn check_loss(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    prepared: &Prepared,
    resident: &Resident,
    reference: &Answer,
) -> Outcome<()> {
    let outputs = [(Tensor::Loss, &reference.loss), (Tensor::GradInput, &reference.grad_input)];
    let outputs = outputs.into_iter().filter(|(tensor, _)| prepared.plan().sizes.iter().any(|(t, _)| t == tensor));
    for (tensor, expected) in outputs {
        let (Some(range), Some(expected)) = (resident.range(tensor), expected) else {
            return Err(format!("no reference for `{}`", tensor.name()).into());
        };
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        // Whatever an earlier call left there must not pass for this call's result.
        encoder.clear_buffer(range.buffer, 0, None);
        prepared.record(&mut encoder, &resident.buffers())?;
        let readback = prepared.read(&mut encoder, &[range]);
        queue.submit([encoder.finish()]);
        let bytes = readback.wait()?.pop().unwrap_or_default();
        let expected: Vec<f32> = expected.iter().copied().collect();
        same_values(&floats_of(&bytes), &expected, TOLERANCE).map_err(|e| format!("{}: {e}", tensor.name()))?;
    }
    Ok(())
}

fn floats_of(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Differences within `tolerance` of the largest finite magnitude; NaN and infinities in the same places.
fn same_values(got: &[f32], expected: &[f32], tolerance: f32) -> Result<(), String> {
    if got.len() != expected.len() {
        return Err(format!("{} values instead of {}", got.len(), expected.len()));
    }
    let largest = expected.iter().filter(|v| v.is_finite()).fold(0.0_f32, |m, v| m.max(v.abs()));
    let same = |g: f32, e: f32| g == e || (g.is_nan() && e.is_nan()) || (g - e).abs() <= tolerance * largest;
    match got.iter().zip(expected).position(|(&g, &e)| !same(g, e)) {
        None => Ok(()),
        Some(at) => Err(format!(
            "wrong at element {at}: got {}, the reference says {} (largest magnitude {largest})",
            got[at], expected[at]
        )),
    }
}

/// Bytes that a copy kernel moves at a time.
const VECTOR: u64 = 16;

/// A workgroup copies `span` vectors from `spacing` times its number on, `step` apart for one invocation. Spans of their own make
/// it one contiguous chunk per workgroup; a span that never ends makes it a stride over the whole grid.
const COPY_WGSL: &str = "
override LANES: u32;
override SPACING: u32;
override SPAN: u32;
override STEP: u32;

@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> destination: array<vec4<u32>>;

@compute @workgroup_size(LANES)
fn copy(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let start = workgroup.x * SPACING;
    let end = min(start + SPAN, arrayLength(&source));
    for (var i = start + lane; i < end; i += STEP) {
        destination[i] = source[i];
    }
}
";

/// One way to copy a buffer.
#[derive(Debug, Clone)]
struct Copy {
    name: &'static str,
    groups: u64,
    lanes: u64,
    spacing: u64,
    span: u64,
    step: u64,
}

impl Copy {
    /// Adapters differ in which is fastest: small workgroups with a chunk each on CPU adapters, wide ones that walk in step on GPUs.
    fn all(bytes: u64) -> [Self; 3] {
        let vectors = bytes / VECTOR;
        [
            Self::chunks("chunks_of_8", vectors, 8),
            Self::grid("grid_of_64", vectors, 64),
            Self::grid("grid_of_256", vectors, 256),
        ]
    }

    fn chunks(name: &'static str, vectors: u64, lanes: u64) -> Self {
        // lavapipe silently ends an invocation after 65 535 iterations.
        let groups = vectors.div_ceil(lanes * 60_000).max(2048).min(vectors.div_ceil(lanes));
        let span = vectors.div_ceil(groups);
        Self { name, groups, lanes, spacing: span, span, step: lanes }
    }

    fn grid(name: &'static str, vectors: u64, lanes: u64) -> Self {
        let groups = vectors.div_ceil(lanes).min(MAX_GROUPS);
        Self { name, groups, lanes, spacing: lanes, span: vectors, step: groups * lanes }
    }

    fn bind(&self, device: &wgpu::Device, source: &wgpu::Buffer, destination: &wgpu::Buffer) -> BoundCopy {
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(self.name),
            source: wgpu::ShaderSource::Wgsl(COPY_WGSL.into()),
        });
        let constants = [("LANES", self.lanes), ("SPACING", self.spacing), ("SPAN", self.span), ("STEP", self.step)];
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(self.name),
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants.map(|(name, value)| (name, value as f64)),
                ..Default::default()
            },
            cache: None,
        });
        let entries = [source, destination].map(wgpu::Buffer::as_entire_binding);
        let entry = |(binding, resource)| wgpu::BindGroupEntry { binding, resource };
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(self.name),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &(0..).zip(entries).map(entry).collect::<Vec<_>>(),
        });
        BoundCopy { pipeline, group, groups: self.groups as u32 }
    }
}

/// Workgroups that WebGPU allows in one dimension.
const MAX_GROUPS: u64 = 65_535;

struct BoundCopy {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    groups: u32,
}

impl BoundCopy {
    fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(self.groups, 1, 1);
    }

    /// The destination ends up with the input's values.
    fn check(
        &self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        host: &OwnedTensors,
        destination: &wgpu::Buffer,
    ) -> Outcome<()> {
        let staging = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("deeploss.bench.staging"),
            size: destination.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        submit(device, queue, |encoder| {
            encoder.clear_buffer(destination, 0, None);
            self.record(encoder);
            encoder.copy_buffer_to_buffer(destination, 0, &staging, 0, staging.size());
            encoder.map_buffer_on_submit(&staging, wgpu::MapMode::Read, .., |_| {});
        })?;
        let copied = floats_of(&staging.get_mapped_range(..)?);
        let expected: Vec<f32> = host.input.iter().copied().collect();
        Ok(same_values(&copied[..expected.len()], &expected, 0.0)?)
    }
}
