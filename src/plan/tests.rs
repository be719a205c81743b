//! Proves what a plan promises, without a GPU: bands, binds, grids, scratch and sizes.

use super::*;
use crate::adapter::Proven;
use crate::losses::{Bce, CrossEntropy, LOSSES, Loss, MarginRanking};
use crate::problem::{Reduction, TargetKind};
use crate::wgsl::part;

fn minimum() -> AdapterFacts {
    AdapterFacts::default()
}

fn software(subgroup_lanes: u32) -> AdapterFacts {
    AdapterFacts { is_cpu: true, proven: Proven { subgroup_lanes, ..Proven::default() }, ..minimum() }
}

fn plan(loss: &dyn Loss, problem: &Problem, facts: &AdapterFacts) -> Result<Plan, Error> {
    Plan::new(&loss.lower(problem)?, problem, facts, None)
}

fn words_bytes(words: usize) -> u64 {
    Dtype::F32.bytes(words)
}

/// The first variant of every loss on this shape, with loss and gradient.
fn plans(shape: &[usize], facts: &AdapterFacts) -> Vec<(&'static str, Plan)> {
    stored_plans(shape, facts, [Dtype::F32; 2])
}

/// The same with input and gradient stored so.
fn stored_plans(shape: &[usize], facts: &AdapterFacts, [input, grad]: [Dtype; 2]) -> Vec<(&'static str, Plan)> {
    let of = |info: &'static crate::LossInfo| {
        let loss = (info.variants)(shape[1]).remove(0);
        let problem = loss.example_inputs(shape, 1).view().problem().with_grad_output();
        plan(&*loss, &problem.input_dtype(input).grad_dtype(grad), facts).map(|plan| (info.name, plan)).ok()
    };
    LOSSES.iter().filter_map(of).collect()
}

/// Bands cover all rows once and in order, start at aligned offsets, and fit a binding; those of the logits' tensors follow on
/// each other without a gap, whatever the size of their elements.
#[test]
fn bands_cover_the_batch_and_fit_a_binding() {
    let small = AdapterFacts { max_binding: 1 << 16, ..minimum() };
    let shapes: [&[usize]; 8] =
        [&[300, 128], &[1000, 101], &[700, 33], &[2001, 33], &[5003, 7], &[9, 64, 70], &[5, 16, 7, 8], &[3, 5, 33, 33]];
    let stored = [Dtype::F32, Dtype::F16, Dtype::Bf16];
    for (shape, input) in shapes.into_iter().flat_map(|shape| stored.map(|input| (shape, input))) {
        for (grad, (name, plan)) in stored
            .into_iter()
            .flat_map(|grad| stored_plans(shape, &small, [input, grad]).into_iter().map(move |p| (grad, p)))
        {
            let name = &format!("{name} {shape:?} {input:?} {grad:?}");
            let rows: Vec<_> = plan.dispatches().iter().filter(|dispatch| dispatch.kernel.entry() == "rows").collect();
            let mut next = 0;
            // A tail of a tile's rows has the offset of its band.
            let mut ends = [(TensorId::Input, 0), (TensorId::GradInput, 0)];
            for dispatch in &rows {
                let params = dispatch.params();
                assert_eq!(params.first_row + params.start, next, "{name}");
                next = params.first_row + params.rows.max(params.start);
                for (tensor, end) in &mut ends {
                    let bind = dispatch.binds.iter().find(|bind| bind.tensor == *tensor).expect("bound by every band");
                    assert!(bind.offset == *end || params.start > 0, "{name} {bind:?}");
                    *end = bind.offset + bind.size;
                }
            }
            if !rows.is_empty() {
                assert_eq!(
                    words_bytes((next as usize).next_multiple_of(8)),
                    plan.size_of(TensorId::ItemLosses),
                    "{name}"
                );
                assert!(ends.iter().all(|&(tensor, end)| end == plan.size_of(tensor)), "{name} {ends:?}");
            }
            check_binds(name, &plan, &small);
        }
    }
}

/// Binds lie within their tensors and the device's limits; the outputs of one dispatch do not overlap.
fn check_binds(name: &str, plan: &Plan, facts: &AdapterFacts) {
    for dispatch in plan.dispatches() {
        let label = dispatch.kernel.label();
        for bind in dispatch.binds.iter() {
            assert!(bind.offset.is_multiple_of(facts.offset_alignment), "{name} {label} {bind:?}");
            assert!(bind.size > 0 && bind.size <= facts.max_binding, "{name} {label} {bind:?}");
            assert!(bind.offset + bind.size <= plan.size_of(bind.tensor), "{name} {label} {bind:?}");
            assert!(bind.size.is_multiple_of(bind.stride), "{name} {label} {bind:?}");
        }
        let mut slots: Vec<u32> = dispatch.binds.iter().map(|bind| bind.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), dispatch.binds.len(), "{name} {label}: a slot is bound twice");
        assert!(slots.len() <= facts.max_storage_buffers as usize, "{name} {label}");
        for written in dispatch.binds.iter().filter(|bind| bind.written) {
            let same = dispatch.binds.iter().filter(|bind| bind.tensor == written.tensor).count();
            assert_eq!(same, 1, "{name} {label}: {:?} is written and bound twice", written.tensor);
        }
    }
}

/// What would need unaligned bands is one band where it fits; else bands begin where a binding may, and kernels start inside.
#[test]
fn a_sample_that_fits_a_binding_is_a_band() {
    let small = AdapterFacts { max_binding: 1 << 16, ..minimum() };
    let ce = CrossEntropy::new();
    let bases = |shape: &[usize], facts: &AdapterFacts| {
        let plan = plan(&ce, &Problem::new(shape, TargetKind::Indices), facts).map_err(|error| error.to_string())?;
        let rows = plan.dispatches().iter().filter(|dispatch| dispatch.kernel.entry() == "rows");
        Ok::<_, String>(rows.map(|dispatch| dispatch.params().base).collect::<Vec<_>>())
    };
    assert_eq!(bases(&[3, 5, 33, 33], &small), Ok(vec![0]));
    // 5445 elements a sample, 64 from one place where a binding may begin to the next.
    assert_eq!(bases(&[7, 5, 33, 33], &small), Ok(vec![0, 2 * 5445 % 64, 4 * 5445 % 64, 6 * 5445 % 64]));
    assert_eq!(bases(&[3, 16_311], &small).unwrap_or_default(), [0, 16_311 % 64, 2 * 16_311 % 64]);
    for shape in [&[1, 16_385][..], &[2, 130, 127], &[16_385, 1]] {
        let refused = bases(shape, &small);
        assert!(refused.as_ref().is_err_and(|error| error.contains("binds at most")), "{shape:?}: {refused:?}");
    }
    // WebGPU's smallest binding, and samples of 22 and 51 MB.
    assert_eq!(bases(&[8, 21, 513, 513], &minimum()).map(|bases| bases.len()), Ok(2));
    assert_eq!(bases(&[4, 50_257, 255], &minimum()).map(|bases| bases.len()), Ok(2));
    // More elements than 32 bits count, on a device that holds them.
    let large = AdapterFacts { max_binding: 1 << 34, max_buffer: 1 << 36, ..minimum() };
    for rows in [(1 << 31) / 5000, (1 << 32) / 5000, (1 << 33) / 5000] {
        let bases = bases(&[rows + 1, 5000], &large).unwrap();
        assert_eq!((bases.len(), bases.iter().sum::<u32>()), (((rows + 1) * 5000).div_ceil(1 << 31), 0));
    }
}

/// On an adapter that bounds loops, an axis of many classes is shared by lanes wherever it is.
#[test]
fn many_classes_on_any_axis_are_planned() {
    for facts in [software(8), software(0), minimum()] {
        for classes in [50_257, 56_464, 128_256, 400_000] {
            let problem = Problem::new(&[1, classes, 3], TargetKind::Indices);
            let plan = plan(&CrossEntropy::new(), &problem, &facts);
            assert!(plan.is_ok(), "{classes} classes: {}", plan.unwrap_err());
        }
    }
}

/// Grids keep to the device's limit, along x and then along y, and their workgroups suffice for the rows.
#[test]
fn grids_keep_to_the_limit_and_suffice() {
    for most in [32, 65_535] {
        let facts = AdapterFacts { max_workgroups: most, ..minimum() };
        for shape in [[1, 5], [64, 5], [65, 5], [2_000, 5], [33, 40], [900, 40], [70_000, 3]] {
            for (name, plan) in plans(&shape, &facts) {
                for dispatch in plan.dispatches() {
                    let [x, y] = dispatch.grid;
                    assert!(x > 0 && y > 0 && x <= most && y <= most, "{name} {shape:?} {:?}", dispatch.grid);
                    let params = dispatch.params();
                    if dispatch.kernel.entry() == "rows" {
                        let constant = |name| {
                            let found = dispatch.kernel.constants().into_iter().find(|(n, _)| *n == name);
                            found.map_or(1, |(_, value)| u64::from(value))
                        };
                        let per_group = constant("WORKGROUP") / constant("LANES") * constant("TILE");
                        let parts = u64::from(params.rows - params.start) * u64::from(params.parts);
                        assert!(u64::from(x) * u64::from(y) * per_group >= parts, "{name}");
                        assert_eq!(params.grid_x, x, "{name} {shape:?}");
                    }
                }
            }
        }
    }
}

/// The scratch holds a partial sum of each workgroup that leaves one.
#[test]
fn the_scratch_holds_every_partial_sum() {
    let text = part!("lib/partial_sum.wgsl").text;
    assert!(text.contains(&format!("const SUMS_AT = {WORK_HEADER_WORDS}u;")), "SUMS_AT differs");
    assert!(text.contains(&format!("const SUM_WORDS = {SUM_WORDS}u;")), "SUM_WORDS differs");
    for shape in [[1, 3], [8_192, 3], [8_193, 3], [81_920, 3], [81_921, 3], [2_000_000, 2]] {
        for facts in [minimum(), software(8)] {
            for (name, plan) in plans(&shape, &facts) {
                for dispatch in plan.dispatches().iter().filter(|dispatch| dispatch.kernel.entry() != "rows") {
                    let writes = dispatch.binds.iter().any(|bind| bind.tensor == TensorId::Work && bind.written);
                    let groups = (dispatch.grid[0] * dispatch.grid[1]) as usize;
                    if writes && groups > 1 {
                        let needed = words_bytes(WORK_HEADER_WORDS + groups * SUM_WORDS);
                        assert!(plan.size_of(TensorId::Work) >= needed, "{name} {shape:?}: {groups} partial sums");
                    }
                    let params = dispatch.params();
                    let items = u64::from(params.chunk) * groups as u64;
                    if matches!(dispatch.kernel.entry(), "reduce" | "items") {
                        assert!(items >= u64::from(params.item_count), "{name} {shape:?}: {groups} groups");
                    }
                }
            }
        }
    }
}

/// A denominator that the GPU counts is there before the kernel that divides by it, and the sum of losses comes last.
#[test]
fn the_denominator_is_counted_first_and_the_loss_is_summed_last() {
    let stems = |loss: &dyn Loss, problem: &Problem| -> Vec<String> {
        plan(loss, problem, &minimum()).unwrap().dispatches.iter().map(|d| d.kernel.label()).collect()
    };
    let rows = Problem::rows(9, 40);
    let all = ["deeploss.labels.reduce", "deeploss.cross_entropy.rows", "deeploss.losses.reduce"];
    assert_eq!(stems(&CrossEntropy::new(), &rows), all);
    assert_eq!(stems(&CrossEntropy::new().reduction(Reduction::Sum), &rows), all[1..]);
    // Unreduced, the last dispatch only looks for invalid labels.
    let in_callers_buffer = [all[1], "deeploss.caller_losses.reduce"];
    assert_eq!(stems(&CrossEntropy::new().reduction(Reduction::None), &rows), in_callers_buffer);
    assert_eq!(stems(&CrossEntropy::new(), &Problem::rows(8_192, 40)), all);
    let many = stems(&CrossEntropy::new(), &Problem::rows(8_193, 40));
    let sums = "deeploss.partial_sums.reduce";
    assert_eq!(many, [all[0], sums, all[1], all[2], sums]);
    let probabilities = Problem::new(&[9, 40], TargetKind::Values);
    assert_eq!(stems(&CrossEntropy::new(), &probabilities), all[1..]);
    let gradient = Problem::new(&[9, 40], TargetKind::Values).wants(Want::GRAD);
    assert_eq!(stems(&CrossEntropy::new(), &gradient), [all[1]]);
    // A workgroup that has all rows does it all.
    assert_eq!(stems(&CrossEntropy::new(), &Problem::rows(64, 4)), [all[1]]);
    assert_eq!(stems(&CrossEntropy::new(), &Problem::rows(65, 4)), all);
}

/// Only tensors that take part have a size, and it is that of their shape.
#[test]
fn sizes_are_those_of_the_shapes() {
    let size = |plan: &Plan, tensor| plan.sizes().iter().find(|(t, _)| *t == tensor).map(|&(_, size)| size);
    let ce = CrossEntropy::new().weight([1.0; 5]);
    let mean = plan(&ce, &Problem::rows(9, 5).with_grad_output(), &minimum()).unwrap();
    let of_mean = [(TensorId::Input, 180), (TensorId::Target, 36), (TensorId::Weight, 20), (TensorId::GradOutput, 4)];
    for (tensor, bytes) in of_mean.into_iter().chain([(TensorId::Loss, 4), (TensorId::GradInput, 180)]) {
        assert_eq!(size(&mean, tensor), Some(bytes), "{tensor:?}");
    }
    assert_eq!(size(&mean, TensorId::GradTarget), None);
    let none = ce.reduction(Reduction::None);
    let none = plan(&none, &Problem::rows(9, 5).with_grad_output().wants(Want::LOSS), &minimum()).unwrap();
    assert_eq!((size(&none, TensorId::Loss), size(&none, TensorId::GradOutput)), (Some(36), Some(36)));
    assert_eq!(size(&none, TensorId::GradInput), None);
    assert!(none.scratch().iter().all(|&(tensor, _)| tensor == TensorId::Work), "{:?}", none.scratch());
    let ranking = Problem::new(&[3, 1], TargetKind::Values).input2_shape(&[4]).target_shape(&[3, 4]);
    let ranking = plan(&MarginRanking::new(), &ranking.wants(Want::LOSS | Want::GRAD), &minimum()).unwrap();
    assert_eq!(size(&ranking, TensorId::Input2), Some(16));
    assert_eq!(size(&ranking, TensorId::Target), Some(48));
    assert_eq!(size(&ranking, TensorId::GradInput), Some(12));
}

/// Too many items to address, or to bind.
#[test]
fn what_no_device_can_address_is_refused() {
    let huge = AdapterFacts { max_binding: u64::MAX, max_workgroups: u32::MAX, ..minimum() };
    for problem in [Problem::rows(1 << 33, 1), Problem::new(&[1 << 33], TargetKind::Values)] {
        let refused = if problem.target == TargetKind::Indices {
            plan(&CrossEntropy::new(), &problem, &huge)
        } else {
            plan(&Bce::new(), &problem, &huge)
        };
        assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
    }
}

/// Rust's DispatchParams lies where WGSL's does.
#[test]
fn dispatch_params_are_laid_out_as_in_wgsl() {
    use std::mem::offset_of;
    let expected = [
        ("rows", offset_of!(DispatchParams, rows)),
        ("classes", offset_of!(DispatchParams, classes)),
        ("inner", offset_of!(DispatchParams, inner)),
        ("first_row", offset_of!(DispatchParams, first_row)),
        ("grid_x", offset_of!(DispatchParams, grid_x)),
        ("chunk", offset_of!(DispatchParams, chunk)),
        ("item_count", offset_of!(DispatchParams, item_count)),
        ("denominator", offset_of!(DispatchParams, denominator)),
        ("empty", offset_of!(DispatchParams, empty)),
        ("zero", offset_of!(DispatchParams, zero)),
        ("parts", offset_of!(DispatchParams, parts)),
        ("start", offset_of!(DispatchParams, start)),
        ("ignore", offset_of!(DispatchParams, ignore)),
        ("base", offset_of!(DispatchParams, base)),
    ];
    let size = size_of::<DispatchParams>();
    assert_eq!(
        members("DispatchParams", Bce::new()),
        (expected.map(|(name, at)| (name.to_owned(), at)).to_vec(), size)
    );
}

/// `broadcast_bytes` writes six rows of four in this order.
#[test]
fn the_broadcast_is_laid_out_as_in_wgsl() {
    let names = ["dims", "input", "second", "target_data", "weight", "pos_weight"];
    let expected = names.iter().enumerate().map(|(row, name)| ((*name).to_owned(), 16 * row)).collect();
    assert_eq!(members("Broadcast", Bce::new()), (expected, 96));
}

/// Members and size of a struct in the module of a loss.
fn members(structure: &str, loss: impl Loss) -> (Vec<(String, usize)>, usize) {
    let plan = plan(&loss, &Problem::new(&[3], TargetKind::Values), &minimum()).unwrap();
    let module = naga::front::wgsl::parse_str(&plan.dispatches()[0].kernel.wgsl()).unwrap();
    let (_, ty) = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(structure)).expect("the struct");
    let naga::TypeInner::Struct { members, span } = &ty.inner else { panic!("{structure} is no struct") };
    let place = |member: &naga::StructMember| (member.name.clone().unwrap_or_default(), member.offset as usize);
    (members.iter().map(place).collect(), *span as usize)
}
