//! What is compiled: the kernels of every loss for shapes and calls that reach every strategy a discrete GPU gets.

use std::collections::HashMap;

use deeploss::internals::{Dispatch, Kernel, Layout, Part, TensorId};
use deeploss::{AdapterFacts, Dtype, Error, LOSSES, Loss, LossInfo, Plan, Problem, Reduction, RowStrategy, Want};
use deeploss_wgsl::calls::{self, target_kind};
use deeploss_wgsl::devices::Device;

use crate::assembly::Share;
use crate::family::Family;
use crate::report::Row;

/// Shapes of inputs: the number of classes is what strategies are chosen by. Tiles are unrolled and take longest to
/// compile: one with every call, of the others the calls of all options.
const SHAPES: &[Shape] = &[
    Shape { name: "10", shape: &[8192, 10], every_call: true },
    Shape { name: "10 of 32 rows", shape: &[32, 10], every_call: false },
    Shape { name: "15", shape: &[8192, 15], every_call: false },
    Shape { name: "32", shape: &[8192, 32], every_call: false },
    Shape { name: "128", shape: &[8192, 128], every_call: true },
    Shape { name: "1000", shape: &[8192, 1000], every_call: true },
    Shape { name: "1003", shape: &[8191, 1003], every_call: true },
    Shape { name: "4096", shape: &[2048, 4096], every_call: true },
    Shape { name: "32000", shape: &[1024, 32_000], every_call: true },
    Shape { name: "128256", shape: &[256, 128_256], every_call: true },
    Shape { name: "128256 of 2 rows", shape: &[2, 128_256], every_call: true },
    Shape { name: "21 of (8, 21, 64, 64)", shape: &[8, 21, 64, 64], every_call: true },
    Shape { name: "128 of (8, 128, 64, 64)", shape: &[8, 128, 64, 64], every_call: true },
];

/// Calls, and the reduction. The first of all options, the others of the plainest with each kind of target, if it has them.
const CALLS: &[Call] = &[
    Call { name: "both", ask: |p| p, reduction: Reduction::Mean },
    Call { name: "loss", ask: |p| p.wants(Want::LOSS), reduction: Reduction::Mean },
    Call { name: "unreduced", ask: Problem::with_grad_output, reduction: Reduction::None },
    Call { name: "target gradient", ask: |p| with(p, Want::GRAD_TARGET), reduction: Reduction::Mean },
    Call { name: "row weights", ask: Problem::with_sample_weight, reduction: Reduction::Mean },
    Call { name: "mask", ask: Problem::with_ignore_mask, reduction: Reduction::Mean },
    Call { name: "bf16", ask: bf16, reduction: Reduction::Mean },
    Call { name: "statistics", ask: |p| with(p, Want::STATS), reduction: Reduction::Mean },
    Call { name: "broadcast", ask: |p| with(broadcast(p), Want::GRAD_INPUT2), reduction: Reduction::Mean },
];
const CALLS_OF_ALL_OPTIONS: usize = 1;

/// The loss whose every option is compiled: its kernel depends on them most. Of the others, the plainest and the fullest.
const ALL_OPTIONS_OF: &str = "cross_entropy";

struct Shape {
    name: &'static str,
    shape: &'static [usize],
    every_call: bool,
}

struct Call {
    name: &'static str,
    ask: fn(Problem) -> Problem,
    reduction: Reduction,
}

fn with(problem: Problem, also: Want) -> Problem {
    problem.wants(Want::LOSS | Want::GRAD | also)
}

fn bf16(problem: Problem) -> Problem {
    problem.input_dtype(Dtype::Bf16).grad_dtype(Dtype::Bf16)
}

fn broadcast(problem: Problem) -> Problem {
    let last = problem.shape()[problem.shape().len() - 1];
    problem.input2_shape(&[last])
}

/// A kernel and everything that leads to it.
pub(crate) struct Case {
    pub(crate) kernel: Kernel,
    /// `cross_entropy.rows`.
    pub(crate) name: String,
    pub(crate) strategy: String,
    /// Boolean constants that are set.
    pub(crate) options: String,
    classes: Vec<&'static str>,
    calls: Vec<&'static str>,
    /// Whether wide accesses are possible.
    fours: bool,
    /// Of a row, where the kernel is one over rows: the largest among the shapes.
    pub(crate) share: Option<Share>,
}

impl Case {
    /// What of a row does not depend on the compiler.
    pub(crate) fn row(&self) -> Row {
        Row {
            kernel: self.name.clone(),
            strategy: self.strategy.clone(),
            options: self.options.clone(),
            classes: self.classes.join(" / "),
            calls: self.calls.join(" / "),
            fours: self.fours,
            ..Row::default()
        }
    }
}

/// The different kernels of all plans, in the order of the table of losses.
pub(crate) fn collect(family: &Family) -> Result<Vec<Case>, String> {
    let facts = Device::named(family.device)?.facts();
    let mut found = Found::default();
    for info in LOSSES {
        for shape in SHAPES {
            let mut kinds = Vec::new();
            for loss in variants(info, shape) {
                let kind = target_kind(&*loss);
                let all = shape.every_call && !kinds.contains(&kind);
                kinds.push(kind);
                for (number, call) in
                    CALLS.iter().enumerate().filter(|(number, _)| all || *number < CALLS_OF_ALL_OPTIONS)
                {
                    match found.plan(&*loss, shape, call, &facts) {
                        Err(_) if number >= CALLS_OF_ALL_OPTIONS => {}
                        outcome => outcome.map_err(|e| format!("{loss:?}, {:?}, {}: {e}", shape.shape, call.name))?,
                    }
                }
            }
        }
    }
    Ok(found.cases)
}

/// The options that are compiled on inputs of this shape.
fn variants(info: &LossInfo, shape: &Shape) -> Vec<Box<dyn Loss>> {
    let mut all = calls::variants(info, shape.shape);
    if info.name != ALL_OPTIONS_OF {
        all.drain(1..(all.len() - 1).max(1));
    }
    all
}

/// Whether four neighbours always lie in 16 aligned bytes, so that wide accesses are possible.
fn has_fours(layout: &Layout) -> bool {
    match layout {
        Layout::Rows(rows) => rows.shape.inner == 1 && rows.shape.classes % 4 == 0,
        Layout::Items(items) => {
            let items = &items.broadcast;
            let others = [&items.second, &items.weight, &items.pos_weight].into_iter().flatten();
            items.items() % 4 == 0 && others.chain([&items.input, &items.target]).all(|tensor| items.is_dense(tensor))
        }
    }
}

/// What a lane has of a row, or of its rows.
fn share(layout: &Layout, plan: &Plan) -> Option<Share> {
    let Layout::Rows(rows) = layout else { return None };
    let elements = (rows.shape.rows() * rows.shape.classes) as u64;
    let bytes = plan.size_of(TensorId::Input).checked_div(elements)?;
    Some(Share { classes: rows.shape.classes as f64 * rows_per_lane(plan.strategy()), bytes })
}

/// Rows of an invocation, or the part of one, by the strategy's name: `tile:ROWS`, `split:LANESxPARTS`, `lanes:LANESxHELD`.
fn rows_per_lane(strategy: RowStrategy) -> f64 {
    let name = strategy.to_string();
    let numbers: Vec<f64> = name.split([':', 'x']).filter_map(|number| number.parse().ok()).collect();
    match (name.split(':').next(), &numbers[..]) {
        (Some("tile"), [rows]) => *rows,
        (Some("split"), [lanes, parts]) => (lanes * parts).recip(),
        (_, [lanes, ..]) => lanes.recip(),
        _ => 1.0,
    }
}

#[derive(Default)]
struct Found {
    cases: Vec<Case>,
    places: HashMap<Text, usize>,
}

/// What a kernel is compiled from, but for the lengths of arrays.
type Text = (Vec<Part>, &'static str, Vec<(&'static str, u32)>);

impl Found {
    /// Adds the kernels of one call.
    fn plan(&mut self, loss: &dyn Loss, shape: &Shape, call: &Call, facts: &AdapterFacts) -> Result<(), Error> {
        let loss = loss.with_reduction(call.reduction);
        let problem = (call.ask)(Problem::new(shape.shape, target_kind(&*loss)));
        let lowered = loss.lower(&problem)?;
        let plan = Plan::new(&lowered, &problem, facts, None)?;
        let share = share(&lowered.layout, &plan);
        for Dispatch { kernel, .. } in plan.dispatches() {
            let case = self.case(*kernel, || {
                let own = kernel.parts()[0] == lowered.source;
                let strategy = if own { words(&plan.strategy()) } else { "sum".into() };
                (strategy, own && has_fours(&lowered.layout))
            });
            push_new(&mut case.classes, shape.name);
            push_new(&mut case.calls, call.name);
            if case.share.is_none_or(|known| share.is_some_and(|share| share.classes > known.classes)) {
                case.share = share.filter(|_| kernel.parts()[0] == lowered.source);
            }
        }
        Ok(())
    }

    /// The case of a kernel; its strategy, and whether wide accesses are possible, where it is new. Kernels that keep rows of
    /// different lengths differ in the size of an array alone: the longest stands for all.
    fn case(&mut self, kernel: Kernel, describe: impl FnOnce() -> (String, bool)) -> &mut Case {
        let (text, kept) = text(&kernel);
        let place = *self.places.entry(text).or_insert(self.cases.len());
        if self.cases.get(place).is_some_and(|case| self::text(&case.kernel).1 < kept) {
            self.cases[place].kernel = kernel;
        } else if place == self.cases.len() {
            let (strategy, fours) = describe();
            let name = kernel.label().trim_start_matches("deeploss.").to_owned();
            let options = options(&kernel);
            self.cases.push(Case {
                kernel,
                name,
                strategy,
                options,
                classes: vec![],
                calls: vec![],
                fours,
                share: None,
            });
        }
        &mut self.cases[place]
    }
}

/// What a kernel is compiled from without the number of logits that it keeps, and that number where it has one.
fn text(kernel: &Kernel) -> (Text, Option<u32>) {
    let (kept, constants): (Vec<_>, Vec<_>) = kernel.constants().into_iter().partition(|(name, _)| *name == "KEPT");
    ((kernel.parts(), kernel.entry(), constants), kept.first().map(|&(_, value)| value))
}

/// Boolean constants that are set.
fn options(kernel: &Kernel) -> String {
    const NUMBERS: &[&str] = &["LANES", "WORKGROUP", "RANK", "TILE", "CLASSES", "KEPT"];
    let constants = kernel.constants();
    let set = constants.iter().filter(|(name, value)| *value == 1 && !NUMBERS.contains(name)).map(|&(name, _)| name);
    set.collect::<Vec<_>>().join(" ")
}

/// `Workgroup { lanes: 64 }` as one word.
fn words(strategy: &impl std::fmt::Debug) -> String {
    format!("{strategy:?}").replace(" { ", "(").replace(" }", ")").replace(": ", "=").replace(", ", ",")
}

fn push_new(names: &mut Vec<&'static str>, name: &'static str) {
    if !names.contains(&name) {
        names.push(name);
    }
}
