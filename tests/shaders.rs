//! Proves, without a GPU, that every WGSL module that any plan can ask for is valid with the constants it is given,
//! that Rust and WGSL lay out parameters alike and share their constants, that every file is used and every folder is
//! one interface, and that the files keep the rules that compilers stricter than naga, and small devices, ask for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock};

use deeploss::internals::{Access, Binding, Dispatch, Kernel, OwnedTensors, Part, TensorId};
use deeploss::{
    AdapterFacts, CrossEntropy, Dtype, LOSSES, Loss, LossInfo, Plan, Problem, Reduction, RowStrategy, TargetKind, Want,
};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage, StorageAccess, TypeInner};
use rayon::prelude::*;

use crate::support::wgsl::{self, File};
use crate::support::{cases, ensure, table};

/// A kernel of some plan.
struct Planned {
    info: &'static LossInfo,
    /// The loss' file.
    source: Part,
    kernel: Kernel,
    /// Bytes of its uniforms, and the slots that it is given: number, whether written, bytes of an element.
    uniforms: usize,
    binds: Vec<(u32, bool, u64)>,
}

impl Planned {
    fn new(info: &'static LossInfo, source: Part, dispatch: &Dispatch) -> Self {
        let mut binds: Vec<_> = dispatch.binds.iter().map(|bind| (bind.slot, bind.written, bind.stride)).collect();
        binds.sort_unstable();
        Self { info, source, kernel: dispatch.kernel, uniforms: dispatch.uniforms.len(), binds }
    }
}

/// Kinds of devices that plans differ for: the WebGPU minimum, a software adapter with subgroups of 8 and one without,
/// GPUs with subgroups of one size and of several.
fn devices() -> Vec<(&'static str, AdapterFacts)> {
    type Change = fn(&mut AdapterFacts);
    fn subgroups(facts: &mut AdapterFacts, smallest: u32, largest: u32) {
        facts.subgroup = Some((smallest, largest));
        facts.proven.subgroup_lanes = smallest.min(32);
        (facts.proven.exp2, facts.proven.fma) = (true, true);
        (facts.proven.unpack_f16, facts.proven.pack_f16) = (true, true);
    }
    let devices: [(&str, Change); 8] = [
        ("WebGPU minimum", |_| {}),
        ("CPU with subgroups", |facts| {
            facts.is_cpu = true;
            subgroups(facts, 8, 8);
        }),
        ("CPU with 64-bit words", |facts| {
            (facts.is_cpu, facts.int64) = (true, true);
            subgroups(facts, 8, 8);
        }),
        ("CPU without subgroups", |facts| facts.is_cpu = true),
        ("GPU with subgroups of 32", |facts| {
            facts.max_invocations = 1024;
            subgroups(facts, 32, 32);
        }),
        ("GPU with subgroups of 8 to 32", |facts| subgroups(facts, 8, 32)),
        ("small workgroups", |facts| facts.max_invocations = 64),
        ("GPU with many bindings", |facts| facts.max_storage_buffers = 16),
    ];
    let facts = |change: Change| {
        let mut facts = AdapterFacts::default();
        change(&mut facts);
        facts
    };
    devices.map(|(name, change)| (name, facts(change))).into()
}

/// Every kernel of every plan: losses, variants, reductions, outputs, upstream gradients, masks, weights of rows,
/// broadcasts, shapes, devices, forced strategies.
fn kernels() -> &'static [Planned] {
    static KERNELS: OnceLock<Vec<Planned>> = OnceLock::new();
    KERNELS.get_or_init(collect)
}

fn collect() -> Vec<Planned> {
    // Threads and groups, fours and single logits, one partial sum and several, classes not last.
    const SHAPES: [&[usize]; 7] = [&[3, 5], &[3, 64], &[3, 101], &[2, 2048], &[20_000, 4], &[3, 4, 5], &[0, 3]];
    let mut problems: Vec<(Box<dyn Loss>, Vec<Problem>)> = Vec::new();
    let wanted = |loss: &dyn Loss, tensors: &OwnedTensors| {
        cases::wants(loss, tensors).into_iter().map(|want| cases::problem(tensors, want)).collect::<Vec<_>>()
    };
    for shape in SHAPES {
        let weighed = LOSSES.iter().filter_map(|info| cases::weighed(info, shape));
        for (_, loss) in cases::variants_of(shape).into_iter().chain(weighed) {
            let Some(tensors) = cases::example_inputs(&*loss, shape, 1) else { continue };
            for (_, loss) in cases::reductions(&*loss, &tensors) {
                let upstream = cases::with_upstream(&*loss, &tensors);
                let mut all = [wanted(&*loss, &tensors), wanted(&*loss, &upstream)].concat();
                let everything = cases::problem(&tensors, cases::everything(&*loss, &tensors));
                let more = [
                    everything.clone().with_ignore_mask(),
                    everything.clone().with_sample_weight(),
                    everything.clone().with_ignore_mask().with_sample_weight(),
                    everything.wants(Want::STATS | Want::LOSS),
                ];
                all.extend(more.into_iter().filter(|problem| loss.lower(problem).is_ok()));
                problems.push((loss, all));
            }
        }
    }
    // How tensors are stored is the same to every loss: the plainest variants, all outputs, each type to read and to
    // write.
    for shape in &SHAPES[..6] {
        for info in LOSSES {
            let loss = (info.variants)(shape[1]).remove(0);
            let Some(tensors) = cases::example_inputs(&*loss, shape, 1) else { continue };
            let problem = cases::problem(&tensors, cases::everything(&*loss, &tensors));
            let types = [(Dtype::F16, Dtype::Bf16), (Dtype::Bf16, Dtype::F16)];
            let stored = types.map(|(input, grad)| problem.clone().input_dtype(input).grad_dtype(grad));
            problems.push((loss, stored.into()));
            // The fullest ones where the gradient overwrites the input.
            let loss = (info.variants)(shape[1]).pop().expect("a loss has variants");
            let everything = cases::problem(&tensors, cases::everything(&*loss, &tensors)).grad_in_place();
            let in_place = [Dtype::F32, Dtype::F16, Dtype::Bf16]
                .map(|dtype| everything.clone().input_dtype(dtype).grad_dtype(dtype))
                .into_iter()
                .flat_map(|problem| [problem.clone(), problem.with_grad_output()]);
            let accepted = in_place.filter(|problem| loss.lower(problem).is_ok()).collect();
            problems.push((loss, accepted));
        }
    }
    // Tensors that broadcast, so that gradients are summed to their shapes.
    for (_, loss) in cases::variants(4) {
        let tensors = loss.example_inputs(&[3, 4], 1);
        let want = cases::everything(&*loss, &tensors);
        let stretched = |grad| cases::problem(&tensors, want).target_shape(&[4]).input2_shape(&[4]).grad_dtype(grad);
        let in_place = cases::problem(&tensors, want).target_shape(&[3, 1]).input2_shape(&[3, 1]).grad_in_place();
        let all = [Dtype::F32, Dtype::F16, Dtype::Bf16].map(stretched).into_iter().chain([in_place]);
        let all: Vec<_> = all.filter(|problem| tensors.input2.is_some() && loss.lower(problem).is_ok()).collect();
        problems.push((loss, all));
    }
    let mut found = HashMap::new();
    let planned: Vec<_> = problems
        .par_iter()
        .flat_map_iter(|(loss, problems)| problems.iter().flat_map(|problem| plans(&**loss, problem)))
        .collect();
    for planned in planned {
        found.entry(planned.kernel).or_insert(planned);
    }
    found.into_values().collect()
}

fn plans(loss: &dyn Loss, problem: &Problem) -> Vec<Planned> {
    let lowered = loss.lower(problem).expect("a problem that the loss accepts");
    let lanes = [(8, 0), (32, 2), (256, 4)].map(|(lanes, held)| RowStrategy::Lanes { lanes, held });
    let tiles = [1, 2, 4].map(|rows| RowStrategy::Tile { rows });
    let split = [8, 32, 256].map(|lanes| RowStrategy::Split { lanes, parts: 2 });
    let forced = lanes.into_iter().chain(tiles).chain(split).chain([RowStrategy::Staged, RowStrategy::Thread]);
    let strategies: Vec<_> = [None].into_iter().chain(forced.map(Some)).collect();
    let mut found = HashMap::new();
    for (_, facts) in devices() {
        for &strategy in &strategies {
            match Plan::new(&lowered, problem, &facts, strategy) {
                Ok(plan) => {
                    for dispatch in plan.dispatches() {
                        let planned = || Planned::new(loss.info(), lowered.source, dispatch);
                        found.entry(dispatch.kernel).or_insert_with(planned);
                    }
                }
                // More buffers than WebGPU promises.
                Err(error) => {
                    let buffers = error.to_string().contains("storage buffers");
                    assert!(strategy.is_some() || buffers, "{loss:?} on {}: {error}", facts.name);
                }
            }
        }
    }
    found.into_values().collect()
}

type Parsed = Result<(Module, ModuleInfo), String>;

/// Kernels differ by their constants more often than by their text.
fn parse(kernel: &Kernel) -> Arc<OnceLock<Parsed>> {
    type Modules = BTreeMap<Vec<&'static str>, Arc<OnceLock<Parsed>>>;
    static MODULES: Mutex<Modules> = Mutex::new(BTreeMap::new());
    let module = MODULES.lock().expect("no panic here").entry(names(kernel)).or_default().clone();
    module.get_or_init(|| validate(&kernel.wgsl()));
    module
}

fn validate(source: &str) -> Parsed {
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module);
    Ok((module, info.map_err(|e| e.emit_to_string(source))?))
}

/// The module with the kernel's constants put in, valid once more, as a device compiles it.
fn specialise(kernel: &Kernel, module: &Module, info: &ModuleInfo) -> Result<Module, String> {
    let constants = kernel.constants().into_iter().map(|(name, value)| (name.to_owned(), f64::from(value))).collect();
    let entry = Some((ShaderStage::Compute, kernel.entry()));
    let special = naga::back::pipeline_constants::process_overrides(module, info, entry, &constants);
    special.map(|(module, _)| module.into_owned()).map_err(|e| format!("{e:?}"))
}

/// The files of a kernel.
fn names(kernel: &Kernel) -> Vec<&'static str> {
    kernel.parts().iter().map(|part| part.name).collect()
}

fn describe(Planned { info, kernel, .. }: &Planned) -> String {
    format!("{} {} of {:?} with {:?}", info.name, kernel.entry(), names(kernel), kernel.constants())
}

fn structure<'m>(module: &'m Module, name: &str) -> Option<(&'m [naga::StructMember], u32)> {
    module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(name)).and_then(|(_, ty)| match &ty.inner {
        TypeInner::Struct { members, span } => Some((members.as_slice(), *span)),
        _ => None,
    })
}

// ---- Modules --------------------------------------------------------------------------------------------------------

#[test]
fn every_kernel_of_every_plan_is_valid_and_keeps_to_the_limits() {
    let check = |planned: &Planned| (describe(planned), check_kernel(planned));
    let outcomes: Vec<_> = kernels().par_iter().map(check).collect();
    println!("{} kernels", outcomes.len());
    table(|rows| outcomes.into_iter().for_each(|(name, outcome)| rows.row(name, outcome)));
}

fn check_kernel(planned: &Planned) -> Result<(), String> {
    let kernel = &planned.kernel;
    let parsed = parse(kernel);
    let (module, info) = parsed.wait().as_ref().map_err(Clone::clone)?;
    bindings_match(planned, module, info)?;
    constants_match(kernel, module)?;
    let special = specialise(kernel, module, info)?;
    let entry = special.entry_points.first().ok_or("no entry point")?;
    let invocations: u32 = entry.workgroup_size.iter().product();
    // More than WebGPU promises only for rows of that many lanes, where the device has them.
    let lanes = kernel.constants().iter().find(|(name, _)| *name == "LANES").map_or(1, |(_, lanes)| *lanes);
    ensure(invocations <= lanes.max(256), || format!("a workgroup of {:?}", entry.workgroup_size))?;
    let shared = special.global_variables.iter().filter(|(_, variable)| variable.space == AddressSpace::WorkGroup);
    let memory: u32 = shared.map(|(_, variable)| special.types[variable.ty].inner.size(special.to_ctx())).sum();
    ensure(memory <= 16_384, || format!("{memory} bytes of workgroup memory"))
}

/// The same modules with all buffers declared for writing: some of them, as no other word of theirs changes.
#[test]
fn modules_whose_buffers_are_shared_are_valid_too() {
    let modules: BTreeMap<_, _> = kernels().iter().map(|planned| (names(&planned.kernel), planned)).collect();
    let some: Vec<_> = modules.into_values().step_by(61).collect();
    let check = |planned: &&Planned| {
        let text = planned.kernel.wgsl_with(Access::Shared);
        let read_only = text.lines().any(|line| line.starts_with("@group") && line.contains("<storage, read>"));
        let valid = validate(&text).map(|_| ());
        (describe(planned), valid.and_then(|()| ensure(!read_only, || "a buffer is bound for reading alone")))
    };
    let outcomes: Vec<_> = some.par_iter().map(check).collect();
    table(|rows| outcomes.into_iter().for_each(|(name, outcome)| rows.row(name, outcome)));
}

/// The texts for launchers of another library, some of each entry point: valid, without constants to set, with the bindings in order and
/// the uniform last, all used by the entry point, as wgpu then finds them.
#[test]
fn standalone_modules_say_everything_themselves() {
    let modules: BTreeMap<_, _> =
        kernels().iter().map(|planned| ((planned.kernel.entry(), names(&planned.kernel)), planned)).collect();
    let some: Vec<_> = modules.into_values().step_by(31).collect();
    let check = |planned: &&Planned| (describe(planned), check_standalone(planned));
    let outcomes: Vec<_> = some.par_iter().map(check).collect();
    assert!(outcomes.len() > 30, "only {} modules", outcomes.len());
    table(|rows| outcomes.into_iter().for_each(|(name, outcome)| rows.row(name, outcome)));
}

fn check_standalone(Planned { kernel, .. }: &Planned) -> Result<(), String> {
    let (module, info) = validate(&kernel.standalone())?;
    ensure(module.overrides.is_empty(), || "there are constants to set")?;
    let entry = module.entry_points.iter().position(|entry| entry.name == kernel.entry()).ok_or("no entry point")?;
    let mut expected: Vec<_> = kernel.bindings().iter().map(|binding| Some(binding.name)).collect();
    expected.push(Some("u"));
    let mut used: Vec<_> = module
        .global_variables
        .iter()
        .filter(|(handle, _)| !info.get_entry_point(entry)[*handle].is_empty())
        .filter_map(|(_, variable)| Some((variable.binding?.binding, variable.name.as_deref())))
        .collect();
    used.sort_unstable();
    let numbers: Vec<_> = used.iter().map(|(number, _)| *number as usize).collect();
    let names: Vec<_> = used.into_iter().map(|(_, name)| name).collect();
    ensure(names == expected && numbers.iter().copied().eq(0..expected.len()), || {
        format!("{names:?} at {numbers:?}, expected {expected:?}")
    })
}

/// What the plan binds, as it was read from the text, is what the entry point uses, as naga reads it.
fn bindings_match(planned: &Planned, module: &Module, info: &ModuleInfo) -> Result<(), String> {
    let Planned { kernel, uniforms, binds, .. } = planned;
    let entries = module.entry_points.iter().filter(|entry| entry.name == kernel.entry()).count();
    ensure(entries == 1, || format!("{entries} entry points `{}`", kernel.entry()))?;
    let bindings = kernel.bindings();
    let bound: Vec<_> = bindings.iter().map(|binding| (binding.slot, binding.written, binding.stride)).collect();
    ensure(bound == *binds, || format!("a dispatch binds {binds:?}, the kernel {bindings:?}"))?;
    for (handle, variable) in module.global_variables.iter() {
        let Some(binding) = &variable.binding else { continue };
        ensure(binding.group == 0, || format!("{:?} is in group {}", variable.name, binding.group))?;
        if variable.space == AddressSpace::Uniform {
            let size = module.types[variable.ty].inner.size(module.to_ctx()) as usize;
            ensure(binding.binding == 0 && size == *uniforms, || {
                format!("{size} bytes of uniforms, {uniforms} given")
            })?;
            continue;
        }
        let AddressSpace::Storage { access } = variable.space else {
            return Err(format!("{:?} is no buffer", variable.name));
        };
        let TypeInner::Array { stride, .. } = module.types[variable.ty].inner else {
            return Err(format!("{:?} is no array", variable.name));
        };
        let name = variable.name.as_deref().unwrap_or_default();
        let declared = (binding.binding, name, access.contains(StorageAccess::STORE), u64::from(stride));
        let same = |bound: &&_| {
            let Binding { slot, name, written, stride } = **bound;
            (slot, name, written, stride) == declared
        };
        ensure(bindings.iter().filter(same).count() == 1, || format!("{declared:?}, the plan binds {bindings:?}"))?;
        // The entry points of a split row share what they declare.
        let used = (0..module.entry_points.len()).any(|entry| !info.get_entry_point(entry)[handle].is_empty());
        ensure(used, || format!("`{name}` is declared and never used"))?;
    }
    Ok(())
}

/// Every constant that the plan gives is an `override` of the module, and every `override` without a value is given
/// one.
fn constants_match(kernel: &Kernel, module: &Module) -> Result<(), String> {
    let given: BTreeSet<&str> = kernel.constants().into_iter().map(|(name, _)| name).collect();
    ensure(given.len() == kernel.constants().len(), || format!("given twice: {:?}", kernel.constants()))?;
    let overrides = module.overrides.iter().map(|(_, constant)| constant);
    let declared: BTreeMap<&str, bool> =
        overrides.map(|constant| (constant.name.as_deref().unwrap_or_default(), constant.init.is_some())).collect();
    let unknown: Vec<_> = given.iter().filter(|name| !declared.contains_key(*name)).collect();
    let missing: Vec<_> = declared.iter().filter(|(name, has)| !**has && !given.contains(*name)).collect();
    ensure(unknown.is_empty() && missing.is_empty(), || {
        format!("constants that no file declares: {unknown:?}; that the plan does not give: {missing:?}")
    })
}

/// `Params` in WGSL has the members, the offsets and the size of `Params` in Rust; what is called spare may differ.
#[test]
fn parameters_lie_where_rust_puts_them() {
    table(|rows| {
        for info in LOSSES {
            for loss in (info.variants)(4) {
                let tensors = cases::example_inputs(&*loss, &[2, 4], 1).expect("every loss takes (N, C)");
                let problem = cases::problem(&tensors, cases::everything(&*loss, &tensors));
                let lowered = loss.lower(&problem).expect("a sample");
                let plan = Plan::new(&lowered, &problem, &AdapterFacts::default(), None).expect("a plan");
                let dispatch = plan.dispatches().iter().find(|d| d.kernel.parts().contains(&lowered.source));
                let outcome = dispatch.ok_or("no dispatch of its own".to_owned()).and_then(|dispatch| {
                    let parsed = parse(&dispatch.kernel);
                    let (module, _) = parsed.wait().as_ref().map_err(Clone::clone)?;
                    let (members, size) = structure(module, "Params").ok_or("no struct Params")?;
                    let mut got: Vec<(&str, usize)> = members
                        .iter()
                        .map(|member| (member.name.as_deref().unwrap_or_default(), member.offset as usize))
                        .filter(|(name, _)| !name.starts_with("spare"))
                        .collect();
                    // A struct in a uniform buffer takes up whole rows of 16 bytes.
                    let size = size.next_multiple_of(16);
                    got.push(("(size)", size as usize));
                    ensure(got == info.params, || format!("WGSL {got:?}, Rust {:?}", info.params))?;
                    let (given, bound) = (lowered.params.len(), dispatch.uniforms.len());
                    ensure(given == size as usize && bound >= given, || {
                        format!("{size} bytes of Params, {given} given; {bound} bytes of uniforms")
                    })
                });
                rows.row(format!("{loss:?}"), outcome);
            }
        }
    });
}

/// The labels that profilers and error messages show: those of a loss' kernel name its file.
#[test]
fn labels_name_the_loss_and_the_entry() {
    table(|rows| {
        for planned in kernels() {
            let Planned { source, kernel, .. } = planned;
            let stem = |name: &'static str| name.rsplit('/').next().unwrap_or(name).trim_end_matches(".wgsl");
            let of = match kernel {
                Kernel::Rows(_) | Kernel::Items(_) => stem(source.name),
                Kernel::Reduce(_) => {
                    let sources = names(kernel).into_iter().filter(|name| name.starts_with("reduce/source/"));
                    sources.map(stem).next().unwrap_or_default()
                }
                Kernel::CountLabels(_) => "labels",
                Kernel::CopyInput => "input",
                Kernel::SumToShape(_) => "gradient",
            };
            let (label, expected) = (kernel.label(), format!("deeploss.{of}.{}", kernel.entry()));
            rows.row(describe(planned), ensure(label == expected, || format!("{label}, expected {expected}")));
        }
    });
}

// ---- What Rust and WGSL agree on ------------------------------------------------------------------------------------

/// A number of some file: `const NAME = VALUEu;`.
fn constant(name: &str) -> u64 {
    let found: Vec<String> = wgsl::files().iter().filter_map(|file| file.constant(name)).collect();
    assert_eq!(found.len(), 1, "{name} is declared {} times", found.len());
    found[0].trim_end_matches('u').parse().unwrap_or_else(|_| panic!("{name} is {}", found[0]))
}

/// The scratch for partial sums begins and is divided as lib/partial_sum.wgsl says, and has room for one of each
/// workgroup that writes one.
#[test]
fn partial_sums_have_room_where_the_shaders_put_them() {
    let (at, words) = (constant("SUMS_AT"), constant("SUM_WORDS"));
    table(|rows| {
        for (device, facts) in devices() {
            for count in [1, 64, 65, 5_000, 8_193, 100_000, 3_000_000] {
                for (name, loss) in cases::fullest(3) {
                    let loss = loss.with_reduction(Reduction::Mean);
                    let kind = cases::target_kind(&loss.example_inputs(&[2, 3], 1));
                    let problem = Problem::new(&[count, 3], kind);
                    let problem =
                        if name == "margin_ranking_loss" { problem.input2_shape(&[count, 3]) } else { problem };
                    let lowered = loss.lower(&problem).expect("a problem that the loss accepts");
                    let Ok(plan) = Plan::new(&lowered, &problem, &facts, None) else { continue };
                    let size = plan.size_of(TensorId::Work);
                    let sums = (size / 4).saturating_sub(at) / words;
                    let whole = size == 4 * (at + sums * words) && sums >= 1;
                    let writes = |dispatch: &&Dispatch| {
                        let bound = dispatch.binds.iter().any(|bind| bind.tensor == TensorId::Work && bind.written);
                        bound && !names(&dispatch.kernel).contains(&"rows/batch/within.wgsl")
                    };
                    let groups = |dispatch: &Dispatch| u64::from(dispatch.grid[0]) * u64::from(dispatch.grid[1]);
                    let most = plan.dispatches().iter().filter(writes).map(groups).max().unwrap_or(0);
                    rows.row(
                        format!("{device} {name} {count}"),
                        ensure(whole && most <= sums, || {
                            format!("{size} bytes for {most} sums of {words} words from word {at} on")
                        }),
                    );
                }
            }
        }
    });
}

/// A tile is as large as the array that holds it, and no larger.
#[test]
fn a_tile_fits_the_array_that_holds_it() {
    let files = wgsl::files();
    let code = files.iter().find(|file| file.name == "rows/lanes/tile.wgsl").expect("the tile's file").code();
    let length = code.split("var<private> tile: array<u32, ").nth(1).and_then(|rest| rest.split('>').next());
    let length = length.expect("an array named tile");
    let length: usize = length.trim_end_matches('u').parse().unwrap_or_else(|_| constant(length) as usize);
    let plans = |rows: u32, classes: usize| {
        let problem = Problem::rows(64, classes);
        let lowered = CrossEntropy::new().lower(&problem).expect("a problem for cross-entropy");
        let plan = Plan::new(&lowered, &problem, &AdapterFacts::default(), Some(RowStrategy::Tile { rows }));
        plan.is_ok()
    };
    for rows in [1, 2, 4] {
        let most = length / rows as usize;
        assert!(plans(rows, most), "{rows} rows of {most} classes");
        assert!(!plans(rows, most + 4), "{rows} rows of {} classes", most + 4);
    }
}

/// `DispatchParams`, as naga lays it out, holds in each member what Rust means by it; ignored values fill the vector,
/// and no more are accepted than it has places.
#[test]
fn a_dispatch_is_told_what_the_shaders_read() {
    let loss = |ignored: usize| {
        let ignored: Vec<i64> = [-100, 2, -7, 4, 5, 6].into_iter().take(ignored).collect();
        CrossEntropy::new().ignore_indices(ignored).on_empty(0.5).reduction(Reduction::Sum)
    };
    let problem = Problem::new(&[3, 5, 7], TargetKind::Indices);
    let lowered = loss(2).lower(&problem).expect("a problem for cross-entropy");
    let facts = AdapterFacts::default();
    let plan = Plan::new(&lowered, &problem, &facts, Some(RowStrategy::Lanes { lanes: 64, held: 0 })).expect("a plan");
    let dispatch =
        plan.dispatches().iter().find(|dispatch| dispatch.kernel.entry() == "rows").expect("a kernel of rows");
    let parsed = parse(&dispatch.kernel);
    let (module, _) = parsed.wait().as_ref().unwrap_or_else(|e| panic!("{e}"));
    let (members, size) = structure(module, "DispatchParams").expect("a struct DispatchParams");
    let word = |offset: u32| {
        let at = offset as usize;
        dispatch.uniforms[at..at + 4].try_into().map(i32::from_le_bytes).expect("four bytes")
    };
    let member = |name: &str| members.iter().find(|member| member.name.as_deref() == Some(name)).expect(name);
    let expected = [
        ("rows", 21),
        ("classes", 5),
        ("inner", 7),
        ("first_row", 0),
        ("item_count", 21),
        ("denominator", 1.0_f32.to_bits() as i32),
        ("empty", 0.5_f32.to_bits() as i32),
        ("zero", 0),
        ("parts", 1),
        ("start", 0),
    ];
    for (name, value) in expected {
        assert_eq!(word(member(name).offset), value, "{name}");
    }
    let ignore = member("ignore");
    let places = module.types[ignore.ty].inner.size(module.to_ctx()) / 4;
    let got: Vec<i32> = (0..places).map(|place| word(ignore.offset + 4 * place)).collect();
    assert!(got.contains(&-100) && got.contains(&2) && got.iter().all(|v| [-100, 2].contains(v)), "{got:?}");
    assert!(dispatch.uniforms.len() >= size as usize);
    assert!(loss(places as usize).lower(&problem).is_ok());
    assert!(loss(places as usize + 1).lower(&problem).is_err());
}

// ---- Files ----------------------------------------------------------------------------------------------------------

/// The kernels of the proofs belong to no plan: a context runs them to find out what a device does, tests/prove.rs tries them, and
/// what the house rules forbid to rely on is what they look at.
const PROOFS: &str = "prove/";

#[test]
fn every_file_is_linked_by_some_plan() {
    let linked: BTreeSet<&str> = kernels().iter().flat_map(|planned| names(&planned.kernel)).collect();
    let files: Vec<File> = wgsl::files();
    table(|rows| {
        for file in files.iter().filter(|file| !file.name.starts_with(PROOFS)) {
            rows.row(&file.name, ensure(linked.contains(&*file.name), || "no plan links it"));
        }
        let known: BTreeSet<&str> = files.iter().map(|file| &*file.name).collect();
        let unknown: Vec<_> = linked.difference(&known).collect();
        rows.row("linked files", ensure(unknown.is_empty(), || format!("not below shaders/: {unknown:?}")));
    });
}

/// Folders whose files supply the same functions, of which a module links one file: those below rows/, items/, reduce/
/// and io/, and group/. Some are several interfaces, by the first word of a file's name.
fn interfaces(files: &[File]) -> BTreeMap<String, Vec<&File>> {
    const BY_FIRST_WORD: [&str; 4] = ["io/read", "io/write", "io/in_place", "io/dtype"];
    let mut found: BTreeMap<String, Vec<&File>> = BTreeMap::new();
    for file in files {
        let (folder, stem) = file.place();
        if folder == "group" || folder.contains('/') {
            let word = stem.split('_').next().unwrap_or_default();
            let interface =
                if BY_FIRST_WORD.contains(&folder) { format!("{folder}/{word}") } else { folder.to_owned() };
            found.entry(interface).or_default().push(file);
        }
    }
    found
}

/// A function of one file that is called from outside of the folder, by a file that some module has beside it, is a
/// function of all files of the folder; the rest is a file's own affair.
#[test]
fn the_files_of_a_folder_are_one_interface() {
    // What calls this is linked beside the file that has it, and no others: items/grad_second/one.wgsl beside ones.
    const ONLY_OF: [(&str, [&str; 1]); 1] = [("items_left", ["items/io/one.wgsl"])];
    let mut beside: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for module in kernels().iter().map(|planned| names(&planned.kernel)).collect::<BTreeSet<_>>() {
        for name in &module {
            beside.entry(name).or_default().extend(&module);
        }
    }
    let files = wgsl::files();
    let interfaces = interfaces(&files);
    assert!(interfaces.len() > 15, "only {:?}", interfaces.keys());
    table(|rows| {
        for (interface, siblings) in &interfaces {
            let outside = |file: &&File| siblings.iter().all(|sibling| sibling.name != file.name);
            for (file, function) in
                siblings.iter().flat_map(|file| file.functions().into_iter().map(move |f| (file, f)))
            {
                let linked = |other: &&File| beside.get(&*file.name).is_some_and(|names| names.contains(&*other.name));
                if !files.iter().filter(outside).filter(linked).any(|other| other.calls(&function.name)) {
                    continue;
                }
                let only = ONLY_OF.iter().find(|(name, _)| *name == function.name).map(|(_, files)| files);
                for sibling in siblings {
                    let outcome = match sibling.functions().into_iter().find(|other| other.name == function.name) {
                        Some(other) => ensure(other == function, || {
                            format!(
                                "`{}` is {} here, {} in {}",
                                other.name, other.signature, function.signature, file.name
                            )
                        }),
                        None if only.is_some_and(|files| !files.contains(&&*sibling.name)) => Ok(()),
                        None => Err(format!("lacks `{}`, which another file of {interface} supplies", function.name)),
                    };
                    rows.row(&sibling.name, outcome);
                }
            }
        }
    });
}

/// A binding means the same wherever it occurs.
#[test]
fn a_name_has_one_binding_number() {
    let mut slots: BTreeMap<String, BTreeMap<u32, Vec<String>>> = BTreeMap::new();
    for file in wgsl::files() {
        for (slot, name) in file.bindings() {
            assert!(!name.is_empty() && slot != u32::MAX, "{}: a binding that is written in another way", file.name);
            slots.entry(name).or_default().entry(slot).or_default().push(file.name.clone());
        }
    }
    table(|rows| {
        for (name, slots) in slots {
            rows.row(name, ensure(slots.len() == 1, || format!("several numbers: {slots:?}")));
        }
    });
}

/// What naga accepts and a browser does not, or what a device cannot do; one row per file. Comments do not count.
#[test]
fn the_files_keep_the_house_rules() {
    table(|rows| {
        for file in wgsl::files() {
            let code = file.code();
            let mut faults = Vec::new();
            let mut forbid = |found: bool, what: &str, why: &str| {
                if found {
                    faults.push(format!("`{what}`: {why}"));
                }
            };
            forbid(code.contains("3.4028"), "3.4028", "a browser rejects FLT_MAX in decimals: write 0x1.fffffep+127f");
            for operator in ["&&", "||"] {
                forbid(
                    code.contains(operator),
                    operator,
                    "a branch: write `&` or `|`, or an `if` around what it guards",
                );
            }
            let enables = file.words("enable") > 0;
            forbid(enables, "enable", "naga rejects the directive that browsers need: the linker writes it");
            for builtin in ["exp", "exp2", "log", "log2", "tanh"] {
                let proven =
                    file.name.starts_with(PROOFS) || (file.name.starts_with("lib/exp/proven") && builtin == "exp2");
                let here = file.calls(builtin) && !proven;
                forbid(here, builtin, "less accurate than the functions of lib/math.wgsl");
            }
            for wide in ["u64", "i64", "f64", "f16"] {
                let here = file.words(wide) > 0 && file.name != "io/words/64.wgsl";
                forbid(here, wide, "not every device has the type");
            }
            let shares_words = ["io/write/two_16.wgsl", "io/in_place/two_16.wgsl"].contains(&&*file.name);
            let atomic = code.contains("atomic") && !shares_words;
            forbid(atomic, "atomic", "sums in a fixed order have none");
            if file.name.starts_with("losses/") {
                for builtin in ["Barrier", "var<workgroup>", "subgroup"] {
                    forbid(code.contains(builtin), builtin, "belongs to the kernel template and the files of group/");
                }
            }
            forbid(!file.text.starts_with("//"), "no comment at its head", "a file says what it is");
            rows.row(&file.name, ensure(faults.is_empty(), || faults.join("; ")));
        }
    });
}

/// The rules see what they forbid, wherever it stands.
#[test]
fn the_house_rules_see_calls_at_word_boundaries() {
    let file = |text: &str| File { name: "losses/test.wgsl".into(), text: text.into() };
    for text in ["-log(v)", "(log(v))", "1.0*log(v)", "let y = log(v);", "log(v)"] {
        assert!(file(text).calls("log"), "{text}");
    }
    for text in ["x_log(v)", "log1p(v)", "log2(v)", "// log(v)", "catalog(v)", "log = v"] {
        assert!(!file(text).calls("log"), "{text}");
    }
}
