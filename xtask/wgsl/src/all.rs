//! Every module of every plan, and every program that is made of one: an entry point with values of the constants.

use std::collections::{HashMap, HashSet};

use deeploss::internals::{Dispatch, Kernel, Layout, Part};
use deeploss::{Dtype, Loss, LossInfo, Plan, Problem, RowStrategy, Want};

use crate::calls::{REDUCTIONS, WANTS, shape_text, target_kind, variants};
use crate::devices::DEVICES;
use crate::module;

/// Threads and groups, wide and single accesses, one partial sum and several, classes not last, an empty batch.
const SHAPES: &[&[usize]] = &[&[3, 5], &[3, 64], &[3, 101], &[2, 2048], &[20_000, 4], &[3, 4, 5], &[0, 3]];
/// Storage of the input and its gradient. Reading and writing are parts of their own, so each type is needed once at either end.
const STORAGES: &[[Dtype; 2]] = &[[Dtype::F16, Dtype::Bf16], [Dtype::Bf16, Dtype::F16]];
/// Where the gradient overwrites the input, both are stored alike.
const STORAGES_IN_PLACE: &[[Dtype; 2]] = &[[Dtype::F32; 2], [Dtype::F16; 2], [Dtype::Bf16; 2]];
/// Where a gradient is summed to a broadcast shape, another kernel than the loss' own writes it.
const STORAGES_OF_SUMS: &[[Dtype; 2]] = &[[Dtype::F32, Dtype::F16], [Dtype::F32, Dtype::Bf16]];
/// Tried on every device, beside the plan's own choice.
const FORCED: &[RowStrategy] = &[
    RowStrategy::Thread,
    RowStrategy::Tile { rows: 1 },
    RowStrategy::Tile { rows: 2 },
    RowStrategy::Tile { rows: 4 },
    RowStrategy::Staged,
    RowStrategy::Lanes { lanes: 8, held: 0 },
    RowStrategy::Lanes { lanes: 8, held: 4 },
    RowStrategy::Lanes { lanes: 32, held: 4 },
    RowStrategy::Lanes { lanes: 256, held: 0 },
    RowStrategy::Lanes { lanes: 256, held: 4 },
    RowStrategy::Split { lanes: 8, parts: 2 },
    RowStrategy::Split { lanes: 32, parts: 2 },
    RowStrategy::Split { lanes: 256, parts: 2 },
];

/// A linked module.
#[derive(Debug)]
pub struct Module {
    /// What it computes, and a number that changes with the text: `cross_entropy.rows-85944171f73967e8`.
    pub name: String,
    /// For a browser, with the directive that naga does not know.
    pub text: String,
    /// The files that it is linked from.
    pub parts: Vec<Part>,
    /// What is compiled from it.
    pub programs: Vec<Program>,
}

/// What a driver compiles of a module.
#[derive(Debug)]
pub struct Program {
    /// Entry point, constants and bindings.
    pub kernel: Kernel,
    /// Bytes of the uniform buffer, binding 0.
    pub uniform_bytes: usize,
    /// One call that runs it.
    pub call: Call,
}

/// One call that runs a program.
#[derive(Debug)]
pub struct Call {
    /// The loss, by its name in the table.
    pub loss: &'static str,
    /// Which of its variants for this shape.
    pub variant: usize,
    /// The loss with its options.
    pub options: String,
    /// Shape of the input.
    pub shape: String,
    /// How rows are mapped to invocations.
    pub strategy: String,
    /// The device that the call was planned for.
    pub facts: &'static str,
    /// Workgroups.
    pub grid: [u32; 2],
}

/// The modules of these losses, in the order of the table; for `web`, of devices that a browser may have, as it takes them.
///
/// `every`: 1 for all of them, which takes minutes. Else each call is planned for every so many pairs of device and strategy,
/// beginning with another one each time: with a prime number, calls that are alike meet all pairs in turn.
///
/// # Errors
/// Which call its own loss refuses.
pub fn collect(losses: &[&'static LossInfo], web: bool, every: usize) -> Result<Vec<Module>, String> {
    let mut found = Found { web, every, ..Found::default() };
    for info in losses {
        found.add_loss(info)?;
    }
    Ok(found.modules)
}

/// The outputs that the loss has for a problem, one by one.
fn outputs(loss: &dyn Loss, problem: &Problem) -> Vec<Want> {
    let accepted = |want: &Want| loss.lower(&problem.clone().wants(*want)).is_ok();
    WANTS.iter().map(|&(_, want)| want).filter(accepted).collect()
}

/// The problem with all outputs, and with all but statistics.
fn most(loss: &dyn Loss, problem: &Problem) -> [Problem; 2] {
    let everything = outputs(loss, problem).into_iter().fold(Want::empty(), |all, want| all | want);
    [everything, everything - Want::STATS].map(|want| problem.clone().wants(want))
}

/// The last axis alone, in place of the input's shape.
fn broadcast(problem: &Problem) -> Problem {
    let last = [problem.shape()[problem.shape().len() - 1]];
    problem.clone().target_shape(&last).input2_shape(&last)
}

/// The problems of this shape that the loss accepts.
fn problems(loss: &dyn Loss, shape: &[usize]) -> Vec<Problem> {
    let base = Problem::new(shape, target_kind(loss));
    let wants = outputs(loss, &base).into_iter().chain([Want::LOSS | Want::GRAD, Want::LOSS | Want::STATS]);
    let mut all: Vec<Problem> = wants.map(|want| base.clone().wants(want)).collect();
    all.extend(most(loss, &base));
    let last = [shape[shape.len() - 1]];
    for further in [
        base.clone().with_sample_weight(),
        base.clone().with_ignore_mask(),
        base.clone().with_ignore_mask().with_sample_weight(),
        base.clone().input2_shape(&last),
        base.clone().target_shape(&last),
        broadcast(&base),
    ] {
        all.extend(most(loss, &further));
        all.push(further.wants(Want::LOSS));
    }
    let upstream: Vec<Problem> = all.iter().map(|problem| problem.clone().with_grad_output()).collect();
    all.extend(upstream);
    all.retain(|problem| loss.lower(problem).is_ok());
    all
}

/// What tells one program from another: the module's number, the entry, its constants, and the bytes of its uniforms.
type Identity = (usize, &'static str, Vec<(&'static str, u32)>, usize);

/// What was found so far.
#[derive(Default)]
struct Found {
    web: bool,
    every: usize,
    calls: usize,
    modules: Vec<Module>,
    places: HashMap<Vec<Part>, usize>,
    kernels: HashSet<Kernel>,
    programs: HashSet<Identity>,
}

impl Found {
    fn add_loss(&mut self, info: &LossInfo) -> Result<(), String> {
        for shape in SHAPES {
            for (number, loss) in variants(info, shape).iter().enumerate() {
                for (_, reduction) in REDUCTIONS {
                    let loss = loss.with_reduction(*reduction);
                    for problem in problems(&*loss, shape) {
                        self.add(&*loss, number, &problem)?;
                    }
                }
            }
            // How tensors are stored is the same to every variant.
            if let Some(loss) = variants(info, shape).first() {
                let base = Problem::new(shape, target_kind(&**loss));
                let sums = broadcast(&base);
                let storages = [
                    (base.clone(), STORAGES),
                    (sums.clone(), STORAGES),
                    (sums.clone(), STORAGES_OF_SUMS),
                    (base.grad_in_place(), STORAGES_IN_PLACE),
                    (sums.grad_in_place(), STORAGES_IN_PLACE),
                ];
                for (problem, storages) in storages {
                    let each = storages.iter().flat_map(|&[input, grad]| {
                        most(&**loss, &problem).map(|problem| problem.input_dtype(input).grad_dtype(grad))
                    });
                    for problem in each.filter(|problem| loss.lower(problem).is_ok()) {
                        self.add(&**loss, 0, &problem)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds the kernels of one call on every device, with every strategy.
    fn add(&mut self, loss: &dyn Loss, variant: usize, problem: &Problem) -> Result<(), String> {
        let lowered = loss.lower(problem).map_err(|e| e.to_string())?;
        // Elements are not mapped in different ways.
        let forced = if matches!(lowered.layout, Layout::Rows(_)) { FORCED } else { &[] };
        let devices = DEVICES.iter().filter(|device| device.is_web() || !self.web);
        let strategies = || [None].into_iter().chain(forced.iter().copied().map(Some));
        let pairs = devices.flat_map(|device| {
            let facts = device.facts();
            strategies().map(move |strategy| (device, facts.clone(), strategy))
        });
        self.calls += 1;
        let first = self.calls % self.every;
        for (device, facts, strategy) in pairs.skip(first).step_by(self.every).collect::<Vec<_>>() {
            // Not every strategy runs everywhere, and not every call fits the smallest device.
            let Ok(plan) = Plan::new(&lowered, problem, &facts, strategy) else { continue };
            for dispatch in plan.dispatches() {
                if self.kernels.insert(dispatch.kernel) {
                    self.add_program(dispatch, || Call {
                        loss: loss.info().name,
                        variant,
                        options: format!("{loss:?}"),
                        shape: shape_text(problem.shape()),
                        strategy: plan.strategy().to_string(),
                        facts: device.name,
                        grid: dispatch.grid,
                    });
                }
            }
        }
        Ok(())
    }

    fn add_program(&mut self, dispatch: &Dispatch, call: impl FnOnce() -> Call) {
        let (kernel, next) = (dispatch.kernel, self.modules.len());
        let parts = kernel.parts();
        let place = *self.places.entry(parts.clone()).or_insert(next);
        if place == next {
            let text = module::text(&kernel, self.web);
            let name = format!("{}-{}", module::name(&kernel), module::hash(&text));
            self.modules.push(Module { name, text, parts, programs: Vec::new() });
        }
        let uniform_bytes = dispatch.uniforms.len();
        // Some kernels differ in what changes neither text nor constants.
        if self.programs.insert((place, kernel.entry(), kernel.constants(), uniform_bytes)) {
            self.modules[place].programs.push(Program { kernel, uniform_bytes, call: call() });
        }
    }
}
