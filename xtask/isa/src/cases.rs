//! What is compiled: the kernels of every loss for shapes and calls that reach every strategy a discrete GPU gets.

use std::collections::HashMap;

use deeploss::{
    AdapterFacts, Dispatch, Error, LOSSES, Layout, Loss, LossInfo, OwnedTarget, Plan, Problem, Program, Reduction,
    TargetKind, Want,
};

use crate::report::Row;

/// A GPU, as Mesa calls its family, and what plans are made from.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    subgroup: (u32, u32),
}

/// One of each architecture that differs: RDNA 2 compiles as RDNA 3 does.
pub(crate) const FAMILIES: &[Family] =
    &[Family { name: "VEGA10", subgroup: (64, 64) }, Family { name: "GFX1100", subgroup: (32, 64) }];

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

fn broadcast(problem: Problem) -> Problem {
    let last = problem.shape()[problem.shape().len() - 1];
    problem.input2_shape(&[last])
}

impl Family {
    fn facts(&self) -> AdapterFacts {
        AdapterFacts {
            name: self.name.into(),
            is_cpu: false,
            subgroup: Some(self.subgroup),
            f16: true,
            max_binding: 1 << 31,
            max_storage_buffers: 16,
            max_invocations: 1024,
            max_workgroup_memory: 32 << 10,
            ..AdapterFacts::default()
        }
    }
}

/// A kernel and everything that leads to it.
pub(crate) struct Case {
    pub(crate) program: Program,
    pub(crate) kernel: String,
    pub(crate) strategy: String,
    /// Boolean constants that are set.
    pub(crate) options: String,
    classes: Vec<&'static str>,
    calls: Vec<&'static str>,
    /// Whether wide accesses are possible.
    quads: bool,
}

impl Case {
    /// What of a row does not depend on the compiler.
    pub(crate) fn row(&self) -> Row {
        Row {
            kernel: self.kernel.clone(),
            strategy: self.strategy.clone(),
            options: self.options.clone(),
            classes: self.classes.join(" / "),
            calls: self.calls.join(" / "),
            quads: self.quads,
            ..Row::default()
        }
    }
}

/// The different kernels of all plans, in the order of the table of losses.
pub(crate) fn collect(family: &Family) -> Result<Vec<Case>, String> {
    let facts = family.facts();
    let mut found = Found::default();
    for info in LOSSES {
        for shape in SHAPES {
            let mut kinds = Vec::new();
            for loss in variants(info, shape) {
                let kind = kind(&*loss);
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
    let classes = shape.shape[1];
    let last = shape.shape[shape.shape.len() - 1];
    let mut all = (info.variants)(classes);
    // Weights of elements broadcast along the last axis, those of classes lie along theirs.
    if classes != last && is_element_wise(&*all[0]) {
        all = (info.variants)(last);
    }
    if info.name != ALL_OPTIONS_OF {
        all.drain(1..(all.len() - 1).max(1));
    }
    all
}

fn is_element_wise(loss: &dyn Loss) -> bool {
    let problem = Problem::new(&[2, 4], kind(loss));
    loss.kernel(&problem).is_ok_and(|kernel| matches!(kernel.layout, Layout::Items(_)))
}

/// Whether four neighbours always lie in 16 aligned bytes, so that wide accesses are possible.
fn has_quads(layout: &Layout) -> bool {
    match layout {
        Layout::Rows(rows) => rows.inner == 1 && rows.classes % 4 == 0,
        Layout::Items(items) => {
            let others = [&items.second, &items.weight, &items.pos_weight].into_iter().flatten();
            items.items() % 4 == 0 && others.chain([&items.input, &items.target]).all(|tensor| items.is_dense(tensor))
        }
    }
}

/// What the loss' target holds.
fn kind(loss: &dyn Loss) -> TargetKind {
    match loss.sample(&[2, 4], 1).target {
        OwnedTarget::Indices(_) => TargetKind::Indices,
        OwnedTarget::Values(_) => TargetKind::Values,
    }
}

#[derive(Default)]
struct Found {
    cases: Vec<Case>,
    places: HashMap<Program, usize>,
}

impl Found {
    /// Adds the kernels of one call.
    fn plan(&mut self, loss: &dyn Loss, shape: &Shape, call: &Call, facts: &AdapterFacts) -> Result<(), Error> {
        let loss = loss.with_reduction(call.reduction);
        let problem = (call.ask)(Problem::new(shape.shape, kind(&*loss)));
        let kernel = loss.kernel(&problem)?;
        let plan = Plan::new(&kernel, &problem, facts, None)?;
        for Dispatch { program, .. } in plan.dispatches {
            let case = self.case(program, |program| {
                let own = program.parts[0] == kernel.source;
                let strategy = if own { words(&plan.strategy.0) } else { "sum".into() };
                (strategy, own && has_quads(&kernel.layout))
            });
            push_new(&mut case.classes, shape.name);
            push_new(&mut case.calls, call.name);
        }
        Ok(())
    }

    /// The case of a program; its strategy, and whether it reads quads, where it is new. Programs that keep rows of
    /// different lengths differ in the size of an array alone: the longest stands for all.
    fn case(&mut self, program: Program, describe: impl FnOnce(&Program) -> (String, bool)) -> &mut Case {
        let (any_length, kept) = without(&program, "KEPT");
        let place = *self.places.entry(any_length).or_insert(self.cases.len());
        if self.cases.get(place).is_some_and(|case| without(&case.program, "KEPT").1 < kept) {
            self.cases[place].program = program;
        } else if place == self.cases.len() {
            let (strategy, quads) = describe(&program);
            let label = program.label();
            let kernel = label.trim_start_matches("deeploss.").to_owned();
            let options = options(&program);
            self.cases.push(Case { program, kernel, strategy, options, classes: vec![], calls: vec![], quads });
        }
        &mut self.cases[place]
    }
}

/// A program without one of its constants, and the constant's value if it had it.
fn without(program: &Program, constant: &str) -> (Program, Option<u32>) {
    let (value, constants): (Vec<_>, Vec<_>) = program.constants.iter().partition(|(name, _)| *name == constant);
    (Program { constants, ..program.clone() }, value.first().map(|&(_, value)| value))
}

/// Boolean constants that are set; LANES is 1 where invocations are independent.
fn options(program: &Program) -> String {
    let set: Vec<&str> = program
        .constants
        .iter()
        .filter(|(name, value)| *value == 1 && *name != "LANES")
        .map(|&(name, _)| name)
        .collect();
    set.join(" ")
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
