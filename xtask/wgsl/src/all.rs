//! Every module of every plan, as files.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use deeploss::internals::{Dispatch, Kernel, Layout, Part};
use deeploss::{Dtype, Loss, LossInfo, Plan, Problem, RowStrategy, Want};
use deeploss_wgsl::calls::{REDUCTIONS, WANTS, shape_text, target_kind, variants};
use deeploss_wgsl::devices::{DEVICES, Device};
use serde_json::{Value, json};

use crate::module;

/// Threads and groups, wide and single accesses, one partial sum and several, classes not last, an empty batch.
const SHAPES: &[&[usize]] = &[&[3, 5], &[3, 64], &[3, 101], &[2, 2048], &[20_000, 4], &[3, 4, 5], &[0, 3]];
/// Storage of the input and its gradient. Reading and writing are parts of their own, so each type is needed once at either end.
const STORAGES: &[[Dtype; 2]] = &[[Dtype::F16, Dtype::Bf16], [Dtype::Bf16, Dtype::F16]];
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

/// Writes them, and what they are given; how many modules and kernels there are.
pub(crate) fn write(folder: &Path, losses: &[&'static LossInfo], web: bool) -> Result<(usize, usize), String> {
    let found = collect(losses, web)?;
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
    for module in &found.modules {
        let path = folder.join(&module.file);
        fs::write(&path, &module.text).map_err(|e| failed(&path, e))?;
    }
    let path = folder.join("manifest.json");
    fs::write(&path, manifest(&found)).map_err(|e| failed(&path, e))?;
    Ok((found.modules.len(), found.given.len()))
}

/// JSON with a line for each kernel: there are tens of thousands.
fn manifest(found: &Found) -> String {
    let module = |module: &Module| {
        let parts: Vec<&str> = module.parts.iter().map(|part| part.name).collect();
        let (file, parts) = (json!(module.file), json!(parts));
        format!("{{\"file\": {file}, \"parts\": {parts}, \"kernels\": [\n{}\n]}}", joined(&module.kernels))
    };
    let modules: Vec<String> = found.modules.iter().map(module).collect();
    format!("{{\"web\": {}, \"modules\": [\n{}\n]}}\n", found.web, joined(&modules))
}

fn joined(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",\n")
}

struct Module {
    file: String,
    text: String,
    parts: Vec<Part>,
    kernels: Vec<Value>,
}

/// What was found, in the order of the table of losses.
struct Found {
    web: bool,
    modules: Vec<Module>,
    places: HashMap<Vec<Part>, usize>,
    kernels: HashSet<Kernel>,
    given: HashSet<String>,
}

fn collect(losses: &[&'static LossInfo], web: bool) -> Result<Found, String> {
    let mut found =
        Found { web, modules: Vec::new(), places: HashMap::new(), kernels: HashSet::new(), given: HashSet::new() };
    for info in losses {
        for shape in SHAPES {
            for (number, loss) in variants(info, shape).iter().enumerate() {
                for (_, reduction) in REDUCTIONS {
                    let loss = loss.with_reduction(*reduction);
                    for problem in problems(&*loss, shape) {
                        found.add(&*loss, number, &problem)?;
                    }
                }
            }
            // How tensors are stored is the same to every variant.
            if let Some(loss) = variants(info, shape).first() {
                let base = Problem::new(shape, target_kind(&**loss));
                let sums = broadcast(&base);
                let storages = [(base, STORAGES), (sums.clone(), STORAGES), (sums, STORAGES_OF_SUMS)];
                for (problem, storages) in storages {
                    let each = storages.iter().flat_map(|&[input, grad]| {
                        most(&**loss, &problem).map(|problem| problem.input_dtype(input).grad_dtype(grad))
                    });
                    for problem in each.filter(|problem| loss.lower(problem).is_ok()) {
                        found.add(&**loss, 0, &problem)?;
                    }
                }
            }
        }
    }
    Ok(found)
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

impl Found {
    /// Adds the kernels of one call on every device, with every strategy.
    fn add(&mut self, loss: &dyn Loss, variant: usize, problem: &Problem) -> Result<(), String> {
        let lowered = loss.lower(problem).map_err(|e| e.to_string())?;
        // Elements are not mapped in different ways.
        let forced = if matches!(lowered.layout, Layout::Rows(_)) { FORCED } else { &[] };
        let web = self.web;
        for device in DEVICES.iter().filter(|device| device.is_web() || !web) {
            let facts = device.facts();
            for strategy in [None].into_iter().chain(forced.iter().copied().map(Some)) {
                let plan = match Plan::new(&lowered, problem, &facts, strategy) {
                    Ok(plan) => plan,
                    // Not every strategy runs everywhere, and not every call fits the smallest device.
                    Err(_) => continue,
                };
                for dispatch in plan.dispatches() {
                    if self.kernels.insert(dispatch.kernel) {
                        let call = call(loss, variant, problem, device, &plan, dispatch.grid);
                        self.add_kernel(dispatch, call);
                    }
                }
            }
        }
        Ok(())
    }

    fn add_kernel(&mut self, dispatch: &Dispatch, call: Value) {
        let (kernel, next) = (&dispatch.kernel, self.modules.len());
        let parts = kernel.parts();
        let place = *self.places.entry(parts.clone()).or_insert(next);
        if place == next {
            let text = module::text(kernel, self.web);
            let file = format!("{}-{}.wgsl", module::name(kernel), module::hash(&text));
            self.modules.push(Module { file, text, parts, kernels: Vec::new() });
        }
        let mut given = module::given(dispatch);
        // Some kernels differ in what changes neither text nor constants.
        if self.given.insert(format!("{place} {given}")) {
            given["call"] = call;
            self.modules[place].kernels.push(given);
        }
    }
}

/// One call that runs a kernel.
fn call(loss: &dyn Loss, variant: usize, problem: &Problem, device: &Device, plan: &Plan, [x, y]: [u32; 2]) -> Value {
    json!({
        "loss": loss.info().name,
        "variant": variant,
        "options": format!("{loss:?}"),
        "shape": shape_text(problem.shape()),
        "strategy": plan.strategy().to_string(),
        "facts": device.name,
        "grid": [x, y],
    })
}
