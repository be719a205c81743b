//! What a context prefers to the table's choice: strategies that were measured on its adapter, and remembered in a file.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use crate::context::AdapterFacts;
use crate::error::Error;
use crate::kernel::{Kernel, Layout};
use crate::losses::Loss;
use crate::plan::Plan;
use crate::problem::{Dtype, Problem, TargetKind, Want};
use crate::strategy::RowStrategy;

#[cfg(not(target_arch = "wasm32"))]
pub use measuring::{Measured, autotune, measure};

/// What calls prepared with a context follow: strategies for some problems, in place of the table's, and which checks the compiled
/// kernels make. Given to [`Context::with_tuning`](crate::Context::with_tuning).
///
/// An entry is for one loss, whatever its options, one kind of target, storage types, outputs, the number of classes, the number of
/// rows up to the next power of two, and whether the class axis is the last. Where the adapter cannot run an entry's strategy,
/// the table chooses. Another strategy may change the last digits of a result; with any one of them, results repeat.
///
/// As text, and in a file, a header that names the version of the crate and the adapter, then a line per entry:
///
/// ```text
/// deeploss tuning, 0.1.0, vulkan, llvmpipe (LLVM 15.0.6)
/// cross_entropy indices f32 f32 loss+grad 4096x1000 last subgroup:8
/// ```
///
/// Empty lines, and lines that begin with `#`, say nothing. The adapter may be `any`.
///
/// ```
/// use deeploss::{CrossEntropy, Problem, RowStrategy, Tuning};
///
/// let mut tuning = Tuning::default();
/// tuning.insert(&CrossEntropy::new(), &Problem::rows(3000, 100), RowStrategy::Thread)?;
/// let read: Tuning = tuning.to_string().parse()?;
/// assert_eq!(read.get(&CrossEntropy::new(), &Problem::rows(4096, 100)), Some(RowStrategy::Thread));
/// assert_eq!(read.get(&CrossEntropy::new(), &Problem::rows(4097, 100)), None);
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    origin: String,
    entries: HashMap<Key, RowStrategy>,
    runtime_checks: bool,
}

/// What one entry is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    loss: String,
    target: TargetKind,
    input: Dtype,
    gradient: Dtype,
    want: Want,
    rows: usize,
    classes: usize,
    last: bool,
}

/// Without entries, for any adapter, with runtime checks.
impl Default for Tuning {
    fn default() -> Self {
        let origin = format!("{}, any", env!("CARGO_PKG_VERSION"));
        Self { origin, entries: HashMap::new(), runtime_checks: true }
    }
}

impl Tuning {
    /// Whether kernels count the iterations of their loops, so that none is endless; true by default. wgpu adds the counters to any
    /// shader, as it knows nothing of it. Those of deeploss end by themselves, so they may be left out: results are the same.
    /// Bounds checks stay. Not part of the text.
    #[must_use]
    pub fn runtime_checks(mut self, on: bool) -> Self {
        self.runtime_checks = on;
        self
    }

    /// Prefers a strategy for a problem, and those like it.
    ///
    /// # Errors
    /// What [`Loss::kernel`] says of the problem; [`Error::Unsupported`] of an element-wise loss, whose items are always shared
    /// out in the same way.
    pub fn insert(&mut self, loss: &dyn Loss, problem: &Problem, strategy: RowStrategy) -> Result<(), Error> {
        let kernel = loss.kernel(problem)?;
        let key = Key::of(loss.info().name, &kernel, problem).ok_or_else(element_wise)?;
        self.entries.insert(key, strategy);
        Ok(())
    }

    /// The strategy preferred for a problem.
    #[must_use]
    pub fn get(&self, loss: &dyn Loss, problem: &Problem) -> Option<RowStrategy> {
        self.look_up(loss.info().name, &loss.kernel(problem).ok()?, problem)
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the table chooses everywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn look_up(&self, loss: &str, kernel: &Kernel, problem: &Problem) -> Option<RowStrategy> {
        if self.is_empty() {
            return None;
        }
        self.entries.get(&Key::of(loss, kernel, problem)?).copied()
    }

    /// By the entry for the problem if there is one that the adapter can run, else by the table.
    pub(crate) fn plan(
        &self,
        loss: &str,
        kernel: &Kernel,
        problem: &Problem,
        facts: &AdapterFacts,
    ) -> Result<Plan, Error> {
        let tuned = self.look_up(loss, kernel, problem).and_then(|s| Plan::tuned(kernel, problem, facts, s).ok());
        tuned.map_or_else(|| Plan::new(kernel, problem, facts, None), Ok)
    }

    pub(crate) fn checks(&self) -> bool {
        self.runtime_checks
    }

    /// Version and adapter that it was made with.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// The origin of what is measured here, by this version.
    pub(crate) fn here(facts: &AdapterFacts) -> String {
        let name: String = facts.name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("{}, {}, {}", env!("CARGO_PKG_VERSION"), facts.backend, name.trim())
    }

    pub(crate) fn is_for(&self, facts: &AdapterFacts) -> bool {
        self.origin == Self::default().origin || self.origin == Self::here(facts)
    }
}

fn element_wise() -> Error {
    Error::Unsupported {
        what: "a strategy for an element-wise loss".into(),
        why: "its items are shared out in one way only".into(),
        instead: "prepare it as it is",
    }
}

const HEADER: &str = "deeploss tuning, ";
const WANTS: [(&str, Want); 5] = [
    ("loss", Want::LOSS),
    ("grad", Want::GRAD),
    ("grad_input2", Want::GRAD_INPUT2),
    ("grad_target", Want::GRAD_TARGET),
    ("stats", Want::STATS),
];
const TARGETS: [(&str, TargetKind); 2] = [("indices", TargetKind::Indices), ("values", TargetKind::Values)];
const DTYPES: [(&str, Dtype); 3] = [("f32", Dtype::F32), ("f16", Dtype::F16), ("bf16", Dtype::Bf16)];
const LAST: [(&str, bool); 2] = [("last", true), ("inner", false)];

fn name_of<T: PartialEq>(names: &'static [(&str, T)], value: &T) -> &'static str {
    names.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name)
}

fn named<T: Copy>(names: &[(&str, T)], name: &str) -> Option<T> {
    names.iter().find(|(known, _)| *known == name).map(|&(_, value)| value)
}

impl Key {
    fn of(loss: &str, kernel: &Kernel, problem: &Problem) -> Option<Self> {
        let Layout::Rows(shape) = &kernel.layout else { return None };
        Some(Self {
            loss: loss.to_owned(),
            target: problem.target,
            input: problem.input_dtype,
            gradient: problem.grad_dtype,
            want: problem.want,
            rows: shape.rows().checked_next_power_of_two()?,
            classes: shape.classes,
            last: shape.inner == 1,
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wants: Vec<_> = WANTS.iter().filter(|(_, w)| self.want.contains(*w)).map(|(name, _)| *name).collect();
        let (target, last) = (name_of(&TARGETS, &self.target), name_of(&LAST, &self.last));
        let (input, gradient) = (name_of(&DTYPES, &self.input), name_of(&DTYPES, &self.gradient));
        let Self { loss, rows, classes, .. } = self;
        write!(f, "{loss} {target} {input} {gradient} {} {rows}x{classes} {last}", wants.join("+"))
    }
}

/// One line of the text, without its strategy.
fn read_key(words: &[&str]) -> Option<Key> {
    let &[loss, target, input, gradient, want, shape, last] = words else { return None };
    let (rows, classes) = shape.split_once('x')?;
    let mut wants = want.split('+').map(|name| named(&WANTS, name));
    let first = wants.next()??;
    Some(Key {
        loss: loss.to_owned(),
        target: named(&TARGETS, target)?,
        input: named(&DTYPES, input)?,
        gradient: named(&DTYPES, gradient)?,
        want: wants.try_fold(first, |all, next| Some(all | next?))?,
        rows: rows.parse().ok()?,
        classes: classes.parse().ok()?,
        last: named(&LAST, last)?,
    })
}

/// Entries in the order of their text: equal tunings give equal files.
impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}{}", self.origin)?;
        let mut lines: Vec<_> = self.entries.iter().map(|(key, strategy)| format!("{key} {strategy}")).collect();
        lines.sort();
        lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for Tuning {
    type Err = Error;

    /// # Errors
    /// [`Error::Value`] naming the line. Text of another adapter or version is none: see
    /// [`Context::with_tuning`](crate::Context::with_tuning).
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |expected: &str, number: usize, line: &str| {
            Error::value("tuning", expected, format!("line {}: `{line}`", number + 1))
        };
        let mut lines = text.lines().enumerate();
        let (number, header) = lines.next().unwrap_or_default();
        let origin = header.strip_prefix(HEADER).map(str::trim_end);
        let origin = origin.ok_or_else(|| wrong("`deeploss tuning, VERSION, ADAPTER`", number, header))?;
        let mut tuning = Self { origin: origin.to_owned(), ..Self::default() };
        for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let entry = words.split_last().and_then(|(strategy, key)| Some((read_key(key)?, strategy.parse().ok()?)));
            let form = "LOSS TARGET INPUT GRADIENT OUTPUTS ROWSxCLASSES AXIS STRATEGY";
            let (key, strategy) = entry.ok_or_else(|| wrong(form, number, line))?;
            if tuning.entries.insert(key, strategy).is_some() {
                return Err(wrong("one entry for each problem", number, line));
            }
        }
        Ok(tuning)
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod measuring {
    use std::io::ErrorKind;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::{Key, Tuning, element_wise};
    use crate::context::{Context, Gpu};
    use crate::error::Error;
    use crate::kernel::{Kernel, Layout};
    use crate::losses::Loss;
    use crate::plan::{Plan, Tensor};
    use crate::prepared::{Bound, Buffers, filled_buffer};
    use crate::problem::{Dtype, Problem, TargetKind};
    use crate::sample::Rng;
    use crate::strategy::{Demand, RowStrategy};

    /// Bytes of all tensors together that a measurement makes at most.
    const MOST_BYTES: u64 = 256 << 20;
    /// Random elements of a tensor; then they repeat. No power of two, so that rows differ.
    const PATTERN: usize = 65_521;
    const ROUNDS: usize = 7;
    /// A strategy this many times slower than the fastest is measured no further.
    const HOPELESS: u32 = 3;
    /// Short calls are repeated within a submit until they take as long.
    const SUBMIT: Duration = Duration::from_millis(2);

    impl Tuning {
        /// What [`Tuning::save`] wrote.
        ///
        /// # Errors
        /// [`Error::File`] if it cannot be read, or a line is none of a tuning.
        pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
            let path = path.as_ref();
            let text = std::fs::read_to_string(path).map_err(|error| file_error(path, error))?;
            text.parse().map_err(|error| file_error(path, error))
        }

        /// Writes the text to a file: first beside it, then in its place, so that nobody sees half of it.
        ///
        /// # Errors
        /// [`Error::File`].
        pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
            // Nobody else's, be it another process or another thread.
            static SAVED: AtomicUsize = AtomicUsize::new(0);
            let path = path.as_ref();
            let mut beside = path.as_os_str().to_owned();
            beside.push(format!(".{}.{}.new", std::process::id(), SAVED.fetch_add(1, Ordering::Relaxed)));
            let beside = PathBuf::from(beside);
            let written = std::fs::write(&beside, self.to_string()).and_then(|()| std::fs::rename(&beside, path));
            written.map_err(|error| {
                // It may not exist.
                let _ = std::fs::remove_file(&beside);
                file_error(path, error)
            })
        }
    }

    fn file_error(path: &Path, detail: impl ToString) -> Error {
        Error::File { path: path.display().to_string(), detail: detail.to_string() }
    }

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

    /// Times a call with every strategy that its table and adapter allow, and some near them, on random tensors of its own. Takes
    /// turns between them, so that what disturbs one disturbs all; blocks for some seconds at most.
    ///
    /// # Errors
    /// As [`Loss::prepare`]; [`Error::Unsupported`] of element-wise losses, which have one strategy only, and where the tensors
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
        let kernel = loss.kernel(problem)?;
        let Layout::Rows(shape) = kernel.layout else { return Err(element_wise()) };
        let table = Plan::new(&kernel, problem, &gpu.facts, None)?;
        let bytes = table.sizes.iter().map(|(_, size)| size).sum::<u64>();
        if bytes > MOST_BYTES {
            return Err(Error::Unsupported {
                what: format!("measuring a call with tensors of {bytes} bytes"),
                why: format!("a measurement makes tensors of its own, of {MOST_BYTES} bytes at most"),
                instead: "measure fewer rows, or insert the strategy by hand",
            });
        }
        let tensors = Own::new(gpu, &kernel, problem, &table, shape.classes);
        let demand = Demand { shape, lists: kernel.marks };
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
            let bound = call.bind(&tensors.buffers())?;
            submit(gpu, &bound, 1)?;
            calls.push(Call { strategy: *strategy, bound, times: vec![] });
        }
        for call in &mut calls {
            call.times.push(submit(gpu, &call.bound, 1)?);
        }
        let fastest = calls.iter().map(Call::median).min().unwrap_or_default();
        let repeats = (SUBMIT.as_nanos() / fastest.as_nanos().max(1)).clamp(1, 64) as u32;
        let (mut close, far): (Vec<_>, Vec<_>) =
            calls.into_iter().partition(|call| call.median() <= fastest * HOPELESS);
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
    /// use deeploss::{Context, CrossEntropy, Loss, Problem};
    ///
    /// let (loss, problem) = (CrossEntropy::new(), Problem::rows(4096, 1000));
    /// let ctx = deeploss::autotune(&Context::new()?, &loss, &problem, "deeploss.tuning")?;
    /// println!("{}", loss.prepare(&ctx, &problem)?.plan());
    /// # Ok::<(), deeploss::Error>(())
    /// ```
    pub fn autotune(
        ctx: &Context,
        loss: &dyn Loss,
        problem: &Problem,
        path: impl AsRef<Path>,
    ) -> Result<Context, Error> {
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
            return Err(file_error(path, detail));
        }
        if let Some(key) = Key::of(loss.info().name, &loss.kernel(problem)?, problem)
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

    struct Call<'a> {
        strategy: RowStrategy,
        bound: Bound<'a>,
        times: Vec<Duration>,
    }

    impl Call<'_> {
        fn median(&self) -> Duration {
            let mut times = self.times.clone();
            times.sort();
            times.get(times.len() / 2).copied().unwrap_or(Duration::MAX)
        }
    }

    /// Time of one call, of so many in a submit.
    fn submit(gpu: &Gpu, bound: &Bound<'_>, repeats: u32) -> Result<Duration, Error> {
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for _ in 0..repeats {
            bound.record(&mut encoder);
        }
        let start = Instant::now();
        gpu.queue.submit([encoder.finish()]);
        gpu.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| Error::Device(e.to_string()))?;
        Ok(start.elapsed() / repeats)
    }

    /// Tensors of a measurement.
    struct Own(Vec<(Tensor, wgpu::Buffer)>);

    impl Own {
        fn new(gpu: &Gpu, kernel: &Kernel, problem: &Problem, plan: &Plan, classes: usize) -> Self {
            let make = |&(tensor, size): &(Tensor, u64)| {
                let bytes = contents(tensor, size as usize, kernel, problem, classes);
                (tensor, filled_buffer(&gpu.device, tensor.name(), &bytes, wgpu::BufferUsages::STORAGE))
            };
            Self(plan.sizes.iter().filter(|(_, size)| *size > 0).map(make).collect())
        }

        fn buffers(&self) -> Buffers<'_> {
            let of = |wanted| {
                let found = self.0.iter().find(|(tensor, _)| *tensor == wanted);
                found.map(|(_, buffer)| buffer.as_entire_buffer_binding())
            };
            Buffers {
                input: of(Tensor::Input),
                input2: of(Tensor::Input2),
                target: of(Tensor::Target),
                weight: of(Tensor::Weight),
                pos_weight: of(Tensor::PosWeight),
                ignore_mask: of(Tensor::IgnoreMask),
                sample_weight: of(Tensor::SampleWeight),
                grad_output: of(Tensor::GradOutput),
                loss: of(Tensor::Loss),
                grad_input: of(Tensor::GradInput),
                grad_input2: of(Tensor::GradInput2),
                grad_target: of(Tensor::GradTarget),
                stats: of(Tensor::Stats),
            }
        }
    }

    /// Logits of a normal distribution, classes in range, uniform probabilities; elsewhere 1, and outputs 0.
    fn contents(tensor: Tensor, size: usize, kernel: &Kernel, problem: &Problem, classes: usize) -> Vec<u8> {
        let mut rng = Rng::new(1);
        let count = PATTERN.min(size);
        let pattern: Vec<u8> = match tensor {
            Tensor::Input => {
                let logits = (0..count).map(|_| 3.0 * rng.normal());
                match problem.input_dtype {
                    Dtype::F32 => logits.flat_map(f32::to_le_bytes).collect(),
                    Dtype::F16 => logits.flat_map(|x| half::f16::from_f32(x).to_le_bytes()).collect(),
                    Dtype::Bf16 => logits.flat_map(|x| half::bf16::from_f32(x).to_le_bytes()).collect(),
                }
            }
            // Some labels, then the end of the list, which need not be where a row begins.
            Tensor::Target if kernel.marks => {
                let labels = (0..count).map(|i| if i % 3 == 2 { -1 } else { rng.below(classes) as i32 });
                labels.flat_map(i32::to_le_bytes).collect()
            }
            Tensor::Target if problem.target == TargetKind::Indices => {
                (0..count).flat_map(|_| (rng.below(classes) as i32).to_le_bytes()).collect()
            }
            Tensor::Target | Tensor::Input2 => (0..count).flat_map(|_| rng.uniform().to_le_bytes()).collect(),
            Tensor::Weight | Tensor::PosWeight | Tensor::SampleWeight | Tensor::GradOutput => {
                1.0_f32.to_le_bytes().to_vec()
            }
            _ => return vec![0; size],
        };
        let mut bytes = pattern.repeat(size.div_ceil(pattern.len()));
        bytes.truncate(size);
        bytes
    }
}
