//! What a context prefers to the table's choice: strategies that were measured on its adapter, and remembered in a file.

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod measure;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use crate::adapter::AdapterFacts;
use crate::error::Error;
use crate::losses::Loss;
use crate::lowered::{Layout, Lowered, RowLayout};
use crate::plan::{Plan, RowStrategy};
use crate::problem::{Dtype, Problem, TargetKind, Want};

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
/// cross_entropy indices f32 f32 loss+grad 4096x1000 last lanes:8x0
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
    /// What the loss says of the problem; [`Error::Unsupported`] of an element-wise loss, whose items are always mapped
    /// to invocations in the same way.
    pub fn insert(&mut self, loss: &dyn Loss, problem: &Problem, strategy: RowStrategy) -> Result<(), Error> {
        let lowered = loss.lower(problem)?;
        let key = Key::of(loss.info().name, &lowered, problem).ok_or_else(element_wise)?;
        self.entries.insert(key, strategy);
        Ok(())
    }

    /// The strategy preferred for a problem.
    #[must_use]
    pub fn get(&self, loss: &dyn Loss, problem: &Problem) -> Option<RowStrategy> {
        self.look_up(loss.info().name, &loss.lower(problem).ok()?, problem)
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

    fn look_up(&self, loss: &str, lowered: &Lowered, problem: &Problem) -> Option<RowStrategy> {
        if self.is_empty() {
            return None;
        }
        self.entries.get(&Key::of(loss, lowered, problem)?).copied()
    }

    /// By the entry for the problem if there is one that the adapter can run, else by the table.
    pub(crate) fn plan(
        &self,
        loss: &str,
        lowered: &Lowered,
        problem: &Problem,
        facts: &AdapterFacts,
    ) -> Result<Plan, Error> {
        let tuned = self.look_up(loss, lowered, problem).and_then(|s| Plan::tuned(lowered, problem, facts, s).ok());
        tuned.map_or_else(|| Plan::new(lowered, problem, facts, None), Ok)
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

#[cfg(not(target_arch = "wasm32"))]
impl Tuning {
    /// What [`Tuning::save`] wrote.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read, or a line is none of a tuning.
    pub fn load(path: impl AsRef<std::path::Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let text =
            std::fs::read_to_string(path).map_err(|error| Error::file_caused(path.display().to_string(), error))?;
        text.parse().map_err(|error| Error::file_caused(path.display().to_string(), error))
    }

    /// Writes the text to a file: first beside it, then in its place, so that nobody sees half of it.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, path: impl AsRef<std::path::Path>) -> Result<(), Error> {
        use std::path::PathBuf;
        use std::sync::atomic::{AtomicUsize, Ordering};

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
            Error::file_caused(path.display().to_string(), error)
        })
    }
}

fn element_wise() -> Error {
    Error::Unsupported {
        what: "a strategy for an element-wise loss".into(),
        why: "its items are mapped to invocations in one way only".into(),
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
    fn of(loss: &str, lowered: &Lowered, problem: &Problem) -> Option<Self> {
        let Layout::Rows(RowLayout { shape, .. }) = &lowered.layout else { return None };
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
