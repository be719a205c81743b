//! Proves, without a GPU, that every WGSL module that any plan can ask for is valid with the constants it is given, that Rust and
//! WGSL lay out parameters alike, and that the files keep the rules that compilers stricter than naga, and small devices, ask for.

mod support;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock};

use deeploss::{AdapterFacts, Dtype, LOSSES, Loss, LossInfo, OwnedTensors, Part, Plan, Program, RowStrategy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage, StorageAccess, TypeInner};
use rayon::prelude::*;
use support::{cases, table};

/// Kinds of devices that plans differ for: the WebGPU minimum, a software adapter with subgroups of 8 and one without, GPUs with
/// subgroups of one size and of several.
fn devices() -> Vec<(&'static str, AdapterFacts)> {
    let minimum = AdapterFacts::default;
    vec![
        ("WebGPU minimum", minimum()),
        ("CPU with subgroups", AdapterFacts { is_cpu: true, subgroup: Some((8, 8)), ..minimum() }),
        ("CPU with 64-bit words", AdapterFacts { is_cpu: true, subgroup: Some((8, 8)), int64: true, ..minimum() }),
        ("CPU without subgroups", AdapterFacts { is_cpu: true, ..minimum() }),
        ("GPU with subgroups of 32", AdapterFacts { subgroup: Some((32, 32)), max_invocations: 1024, ..minimum() }),
        ("GPU with subgroups of 8 to 32", AdapterFacts { subgroup: Some((8, 32)), ..minimum() }),
        ("small workgroups", AdapterFacts { max_invocations: 64, ..minimum() }),
    ]
}

/// Every program of every plan: losses, variants, reductions, outputs, upstream gradients, shapes, devices, forced strategies.
fn programs() -> &'static [(&'static LossInfo, Program)] {
    static PROGRAMS: OnceLock<Vec<(&LossInfo, Program)>> = OnceLock::new();
    PROGRAMS.get_or_init(collect)
}

fn collect() -> Vec<(&'static LossInfo, Program)> {
    // Threads and groups, quads and single logits, one record and several, classes not last.
    const SHAPES: [&[usize]; 7] = [&[3, 5], &[3, 64], &[3, 101], &[2, 2048], &[20_000, 4], &[3, 4, 5], &[0, 3]];
    let mut found = HashMap::new();
    let mut add = |loss: &dyn Loss, tensors: &OwnedTensors| {
        for want in cases::wants(loss, tensors) {
            for program in plans(loss, &cases::problem(tensors, want)) {
                found.entry(program).or_insert(loss.info());
            }
        }
    };
    for shape in SHAPES {
        for (_, loss) in cases::variants_of(shape) {
            let Some(tensors) = cases::sample(&*loss, shape, 1) else { continue };
            for (_, loss) in cases::reductions(&*loss, &tensors) {
                add(&*loss, &tensors);
                add(&*loss, &cases::with_upstream(&*loss, &tensors));
            }
        }
    }
    // How tensors are stored is the same to every loss: the plainest variants, all outputs, each type to read and to write.
    for shape in &SHAPES[..6] {
        for info in LOSSES {
            let loss = (info.variants)(shape[1]).remove(0);
            let Some(tensors) = cases::sample(&*loss, shape, 1) else { continue };
            let problem = cases::problem(&tensors, cases::everything(&*loss, &tensors));
            for (input, grad) in [(Dtype::F16, Dtype::Bf16), (Dtype::Bf16, Dtype::F16)] {
                for program in plans(&*loss, &problem.clone().input_dtype(input).grad_dtype(grad)) {
                    found.entry(program).or_insert(info);
                }
            }
        }
    }
    found.into_iter().map(|(program, info)| (info, program)).collect()
}

fn plans(loss: &dyn Loss, problem: &deeploss::Problem) -> Vec<Program> {
    let kernel = loss.kernel(problem).expect("a problem that the loss accepts");
    let forced = [8, 32].map(|lanes| RowStrategy::Subgroup { lanes });
    let workgroups = [64, 256].map(|lanes| RowStrategy::Workgroup { lanes });
    let kept = [64, 256].map(|lanes| RowStrategy::Kept { lanes });
    let tiles = [1, 2, 4].map(|rows| RowStrategy::Tile { rows });
    let split = [8, 32, 256].map(|lanes| RowStrategy::Split { lanes, parts: 2 });
    let forced = forced.into_iter().chain(workgroups).chain(kept).chain(tiles).chain(split);
    let forced = forced.chain([RowStrategy::Thread]).map(Some);
    let strategies: Vec<_> = [None].into_iter().chain(forced).collect();
    let mut programs = Vec::new();
    for (_, facts) in devices() {
        for &strategy in &strategies {
            match Plan::new(&kernel, problem, &facts, strategy) {
                Ok(plan) => programs.extend(plan.dispatches.into_iter().map(|dispatch| dispatch.program)),
                Err(error) => assert!(strategy.is_some(), "{loss:?} on {}: {error}", facts.name),
            }
        }
    }
    programs
}

type Parsed = Result<(Module, ModuleInfo), String>;

/// Programs differ by their constants more often than by their text.
fn parse(program: &Program) -> Arc<Parsed> {
    static MODULES: Mutex<BTreeMap<Vec<&str>, Arc<Parsed>>> = Mutex::new(BTreeMap::new());
    let names: Vec<&str> = program.parts.iter().map(|part| part.name).collect();
    let mut modules = MODULES.lock().expect("no panic while parsing");
    modules.entry(names).or_insert_with(|| Arc::new(validate(&program.wgsl()))).clone()
}

fn validate(source: &str) -> Parsed {
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module);
    Ok((module, info.map_err(|e| e.emit_to_string(source))?))
}

/// The module with the program's constants put in, valid once more, as a device compiles it.
fn specialise(program: &Program, module: &Module, info: &ModuleInfo) -> Result<Module, String> {
    let constants = program.constants.iter().map(|&(name, value)| (name.to_owned(), f64::from(value))).collect();
    let entry = Some((ShaderStage::Compute, program.entry));
    let special = naga::back::pipeline_constants::process_overrides(module, info, entry, &constants);
    special.map(|(module, _)| module.into_owned()).map_err(|e| format!("{e:?}"))
}

fn name(info: &LossInfo, program: &Program) -> String {
    let parts: Vec<&str> = program.parts.iter().map(|part| part.name).collect();
    format!("{} {} of {parts:?} with {:?}", info.name, program.entry, program.constants)
}

fn structure<'m>(module: &'m Module, name: &str) -> Option<(&'m [naga::StructMember], u32)> {
    module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(name)).and_then(|(_, ty)| match &ty.inner {
        TypeInner::Struct { members, span } => Some((members.as_slice(), *span)),
        _ => None,
    })
}

#[test]
fn every_program_of_every_plan_is_valid_and_keeps_to_the_limits() {
    let outcomes: Vec<_> =
        programs().par_iter().map(|(info, program)| (name(info, program), check_program(program))).collect();
    println!("{} programs", outcomes.len());
    table(|rows| outcomes.into_iter().for_each(|(name, outcome)| rows.row(name, outcome)));
}

fn check_program(program: &Program) -> Result<(), String> {
    let parsed = parse(program);
    let (module, info) = parsed.as_ref().as_ref().map_err(Clone::clone)?;
    bindings_match(program, module, info)?;
    let special = specialise(program, module, info)?;
    let entry = special.entry_points.first().ok_or("no entry point")?;
    if entry.workgroup_size.iter().product::<u32>() > 256 {
        return Err(format!("a workgroup of {:?}", entry.workgroup_size));
    }
    let memory: u32 = special
        .global_variables
        .iter()
        .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
        .map(|(_, variable)| special.types[variable.ty].inner.size(special.to_ctx()))
        .sum();
    if memory > 16_384 { Err(format!("{memory} bytes of workgroup memory")) } else { Ok(()) }
}

/// The plan binds what the entry point uses, as it is declared, and never more buffers than the device that it was made for
/// promised: here eight.
fn bindings_match(program: &Program, module: &Module, info: &ModuleInfo) -> Result<(), String> {
    let entry =
        module.entry_points.iter().position(|entry| entry.name == program.entry).ok_or("no such entry point")?;
    for (handle, variable) in module.global_variables.iter() {
        let Some(binding) = &variable.binding else { continue };
        if binding.group != 0 {
            return Err(format!("{:?} is in group {}", variable.name, binding.group));
        }
        if info.get_entry_point(entry)[handle].is_empty() {
            continue;
        }
        if variable.space == AddressSpace::Uniform {
            let size = module.types[variable.ty].inner.size(module.to_ctx()) as usize;
            if binding.binding != 0 || size != program.uniform_bytes {
                return Err(format!("{size} bytes of uniforms, {} bound", program.uniform_bytes));
            }
            continue;
        }
        let AddressSpace::Storage { access } = variable.space else {
            return Err(format!("{:?} is no buffer", variable.name));
        };
        let TypeInner::Array { stride, .. } = module.types[variable.ty].inner else {
            return Err(format!("{:?} is no array", variable.name));
        };
        let used = (binding.binding, access.contains(StorageAccess::STORE), u64::from(stride));
        // Sums of a part of a row have room for those of any loss.
        let room = variable.name.as_deref() == Some("partials");
        let fits = |&(slot, written, element)| {
            (slot, written) == (used.0, used.1) && (element == used.2 || (room && element >= used.2))
        };
        if !program.storage.iter().any(fits) {
            return Err(format!("{:?} is {used:?}, the plan binds {:?}", variable.name, program.storage));
        }
    }
    if program.storage.len() > 8 { Err(format!("{} storage buffers", program.storage.len())) } else { Ok(()) }
}

/// `Params` in WGSL has the members, the offsets and the size of `Params` in Rust; what is called spare may differ.
#[test]
fn parameters_lie_where_rust_puts_them() {
    table(|rows| {
        for info in LOSSES {
            for loss in (info.variants)(4) {
                let tensors = cases::sample(&*loss, &[2, 4], 1).expect("every loss takes (N, C)");
                let problem = cases::problem(&tensors, cases::everything(&*loss, &tensors));
                let kernel = loss.kernel(&problem).expect("a sample");
                let plan = Plan::new(&kernel, &problem, &AdapterFacts::default(), None).expect("a plan");
                let dispatch = plan.dispatches.iter().find(|d| d.program.parts[0] == kernel.source);
                let outcome = dispatch.ok_or("no dispatch of its own".to_owned()).and_then(|dispatch| {
                    let parsed = parse(&dispatch.program);
                    let (module, _) = parsed.as_ref().as_ref().map_err(Clone::clone)?;
                    let (members, size) = structure(module, "Params").ok_or("no struct Params")?;
                    let mut got: Vec<(&str, usize)> = members
                        .iter()
                        .map(|member| (member.name.as_deref().unwrap_or_default(), member.offset as usize))
                        .filter(|(name, _)| !name.starts_with("spare"))
                        .collect();
                    // A struct in a uniform buffer takes up whole rows of 16 bytes.
                    let size = size.next_multiple_of(16);
                    got.push(("(size)", size as usize));
                    if got != info.params {
                        return Err(format!("WGSL {got:?}, Rust {:?}", info.params));
                    }
                    let (given, bound) = (kernel.params.len(), dispatch.uniforms.len());
                    if given != size as usize || bound != dispatch.program.uniform_bytes {
                        return Err(format!("{size} bytes of Params, {given} given; {bound} bytes of uniforms"));
                    }
                    Ok(())
                });
                rows.row(format!("{loss:?}"), outcome);
            }
        }
    });
}

/// What naga accepts and a browser does not, or what a device cannot do; one row per file. Comments do not count.
#[test]
fn the_files_keep_the_house_rules() {
    let parts = programs().iter().flat_map(|(_, program)| &program.parts).map(|part| (part.name, part));
    let parts: BTreeMap<&str, &Part> = parts.collect();
    table(|rows| {
        for part in parts.into_values() {
            let code: String = part
                .text
                .lines()
                .map(|line| line.split("//").next().unwrap_or_default())
                .collect::<Vec<_>>()
                .join("\n");
            let mut faults = Vec::new();
            let mut forbid = |text: &str, why: &str| {
                if code.contains(text) {
                    faults.push(format!("`{text}`: {why}"));
                }
            };
            forbid("3.4028", "a browser rejects FLT_MAX in decimals: write 0x1.fffffep+127f");
            forbid("enable ", "naga rejects the directive that browsers need: the linker writes it");
            forbid(" tanh(", "its error may be 1e-5");
            if part.name != "common/write_ones_16.wgsl" {
                forbid("atomic", "sums in a fixed order have none");
            }
            for float in ["log(", "log2(", "exp2("] {
                forbid(&format!(" {float}"), "less accurate than the functions of math.wgsl");
            }
            if part.name.starts_with("losses/") {
                for builtin in ["Barrier", "var<workgroup>", "subgroup"] {
                    forbid(builtin, "belongs to the skeleton and the group files");
                }
            }
            if !part.text.starts_with("//") {
                faults.push("no comment at its head".into());
            }
            rows.row(part.name, if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) });
        }
    });
}

/// The labels that profilers and error messages show.
#[test]
fn labels_name_loss_and_entry() {
    table(|rows| {
        for (info, program) in programs() {
            let label = program.label();
            let parts: Vec<&str> = label.split('.').collect();
            let right = matches!(parts[..], ["deeploss", file, entry] if !file.is_empty() && entry == program.entry);
            rows.row(info.name, if right { Ok(()) } else { Err(label) });
        }
    });
}
