//! Proves, without a GPU, that every WGSL module that any plan can ask for is valid with the constants it is given, that Rust and
//! WGSL lay out parameters alike, and that the files keep the rules that compilers stricter than naga, and small devices, ask for.

mod support;

use std::collections::HashMap;

use deeploss::{AdapterFacts, LOSSES, Loss, LossInfo, OwnedTensors, Plan, Program, RowStrategy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage, StorageAccess, TypeInner};
use support::{cases, reason, table};

/// Kinds of devices that plans differ for: the WebGPU minimum, a software adapter with subgroups of 8 and one without, GPUs with
/// subgroups of one size and of several.
fn devices() -> Vec<(&'static str, AdapterFacts)> {
    let minimum = AdapterFacts::default;
    vec![
        ("WebGPU minimum", minimum()),
        ("CPU with subgroups", AdapterFacts { is_cpu: true, subgroup: Some((8, 8)), ..minimum() }),
        ("CPU without subgroups", AdapterFacts { is_cpu: true, ..minimum() }),
        ("GPU with subgroups of 32", AdapterFacts { subgroup: Some((32, 32)), max_invocations: 1024, ..minimum() }),
        ("GPU with subgroups of 8 to 32", AdapterFacts { subgroup: Some((8, 32)), ..minimum() }),
        ("small workgroups", AdapterFacts { max_invocations: 64, ..minimum() }),
    ]
}

/// Every program of every plan: losses, variants, reductions, outputs, upstream gradients, shapes, devices, forced strategies.
fn programs() -> Vec<(&'static LossInfo, Program)> {
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
    found.into_iter().map(|(program, info)| (info, program)).collect()
}

fn plans(loss: &dyn Loss, problem: &deeploss::Problem) -> Vec<Program> {
    let kernel = loss.kernel(problem).expect("a problem that the loss accepts");
    let forced = [8, 32].map(|lanes| RowStrategy::Subgroup { lanes });
    let workgroups = [64, 256].map(|lanes| RowStrategy::Workgroup { lanes });
    let forced = forced.into_iter().chain(workgroups).chain([RowStrategy::Thread]).map(Some);
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

fn parse(program: &Program) -> Result<(Module, ModuleInfo), String> {
    let source = program.wgsl();
    let module = naga::front::wgsl::parse_str(&source).map_err(|e| e.emit_to_string(&source))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module);
    Ok((module, info.map_err(|e| e.emit_to_string(&source))?))
}

/// The module with the program's constants put in, as a device compiles it.
fn specialise(program: &Program) -> Result<Module, String> {
    let (module, info) = parse(program)?;
    let constants = program.constants.iter().map(|&(name, value)| (name.to_owned(), f64::from(value))).collect();
    let entry = Some((ShaderStage::Compute, program.entry));
    let special = naga::back::pipeline_constants::process_overrides(&module, &info, entry, &constants);
    let (module, _) = special.map_err(|e| format!("{e:?}"))?;
    let module = module.into_owned();
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module);
    info.map(|_| module).map_err(reason)
}

fn name(info: &LossInfo, program: &Program) -> String {
    let parts: Vec<&str> = program.parts.iter().map(|part| part.name).collect();
    format!("{} {} {parts:?} {:?}", info.name, program.entry, program.constants)
}

fn structure<'m>(module: &'m Module, name: &str) -> Option<(&'m [naga::StructMember], u32)> {
    module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(name)).and_then(|(_, ty)| match &ty.inner {
        TypeInner::Struct { members, span } => Some((members.as_slice(), *span)),
        _ => None,
    })
}

/// One test for what needs all programs: making them takes longer than each check.
#[test]
fn every_program_of_every_plan_is_valid_and_keeps_to_the_limits() {
    let programs = programs();
    println!("{} programs", programs.len());
    table(|rows| {
        for (info, program) in &programs {
            rows.row(name(info, program), check_program(program));
        }
    });
}

fn check_program(program: &Program) -> Result<(), String> {
    let (module, _) = parse(program)?;
    bindings_match(program, &module)?;
    let special = specialise(program)?;
    let entry = special.entry_points.first().ok_or("no entry point")?;
    let constant = |name| program.constants.iter().find(|(known, _)| *known == name).map(|&(_, value)| value);
    if Some(entry.workgroup_size[0]) != constant("WORKGROUP") {
        return Err(format!("workgroup of {:?}, not WORKGROUP", entry.workgroup_size));
    }
    let memory: u32 = special
        .global_variables
        .iter()
        .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
        .map(|(_, variable)| special.types[variable.ty].inner.size(special.to_ctx()))
        .sum();
    if memory > 16_384 {
        return Err(format!("{memory} bytes of workgroup memory"));
    }
    Ok(())
}

/// The program lists the storage buffers that the module declares, and how it accesses them; at most eight.
fn bindings_match(program: &Program, module: &Module) -> Result<(), String> {
    let mut declared = Vec::new();
    for (_, variable) in module.global_variables.iter() {
        let Some(binding) = &variable.binding else { continue };
        if binding.group != 0 {
            return Err(format!("group {}", binding.group));
        }
        if let AddressSpace::Storage { access } = variable.space {
            let TypeInner::Array { stride, .. } = module.types[variable.ty].inner else {
                return Err(format!("{:?} is no array", variable.name));
            };
            declared.push((binding.binding, access.contains(StorageAccess::STORE), u64::from(stride)));
        } else if binding.binding != 0 || variable.space != AddressSpace::Uniform {
            return Err(format!("{:?} at binding {}", variable.name, binding.binding));
        }
    }
    let mut listed = program.storage.clone();
    listed.sort_unstable();
    declared.sort_unstable();
    if declared.iter().any(|place| !listed.contains(place)) {
        return Err(format!("the module declares {declared:?}, the plan binds {listed:?}"));
    }
    // With a mask and weights together there are nine: the plan refuses that on devices that bind eight.
    if listed.len() > 8 { Err(format!("{} storage buffers", listed.len())) } else { Ok(()) }
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
                    let (module, _) = parse(&dispatch.program)?;
                    let (members, size) = structure(&module, "Params").ok_or("no struct Params")?;
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
                    let uniforms = structure(&module, "Uniforms").ok_or("no struct Uniforms")?.1 as usize;
                    if dispatch.uniforms.len() != uniforms || kernel.params.len() != size as usize {
                        return Err(format!(
                            "{uniforms} bytes of Uniforms, {} given; {size} of Params, {} given",
                            dispatch.uniforms.len(),
                            kernel.params.len()
                        ));
                    }
                    Ok(())
                });
                rows.row(format!("{loss:?}"), outcome);
            }
        }
    });
}

/// Every dispatch is given as many bytes of uniforms as its module reads.
#[test]
fn uniforms_are_as_long_as_the_module_reads() {
    table(|rows| {
        for (name, loss) in cases::variants(5) {
            let Some(tensors) = cases::sample(&*loss, &[20_000, 5], 1) else { continue };
            let problem = cases::problem(&tensors, cases::everything(&*loss, &tensors));
            let kernel = loss.kernel(&problem).expect("a sample");
            let plan = Plan::new(&kernel, &problem, &AdapterFacts::default(), None).expect("a plan");
            for dispatch in plan.dispatches {
                let outcome = parse(&dispatch.program).and_then(|(module, _)| {
                    let (_, size) = structure(&module, "Uniforms").ok_or("no struct Uniforms")?;
                    let given = dispatch.uniforms.len();
                    if given == size as usize { Ok(()) } else { Err(format!("{given} bytes given, {size} read")) }
                });
                rows.row(format!("{name} {}", dispatch.program.label()), outcome);
            }
        }
    });
}

/// What naga accepts and a browser does not, or what a device cannot do; one row per file. Comments do not count.
#[test]
fn the_files_keep_the_house_rules() {
    let mut parts: Vec<_> = programs().into_iter().flat_map(|(_, program)| program.parts).collect();
    parts.sort_unstable_by_key(|part| part.name);
    parts.dedup();
    table(|rows| {
        for part in parts {
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
            forbid("tanh", "its error may be 1e-5: use sigmoid's own formula");
            forbid("atomic", "sums in a fixed order have none");
            for float in ["log(", "log2(", "exp2("] {
                forbid(&format!(" {float}"), "less accurate than the functions of math.wgsl");
            }
            if part.name.starts_with("losses/") {
                for builtin in ["Barrier", "var<workgroup>", "subgroup", "workgroup_id", "local_invocation"] {
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
