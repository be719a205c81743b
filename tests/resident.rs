//! Proves the GPU-resident API: the caller's device, buffers, offsets and encoders give the reference's values, invalid
//! targets in a GPU buffer corrupt nothing else, and buffers that cannot serve are refused before anything is recorded.

use deeploss::internals::{OwnedTarget, OwnedTensors, TensorId};
use deeploss::{
    Bound, Buffers, Context, CrossEntropy, Error, Evaluate, Loss, Nll, Output, Prepared, Problem, Reduction,
    RowStrategy, TargetKind, Want,
};
use ndarray::{ArrayD, Axis};

use crate::support::compare::{TOLERANCE, bits, outputs};
use crate::support::resident::{self, Resident, UNTOUCHED, upload};
use crate::support::{cases, ensure, facts, gpu, own_device, reason, table};

/// The values of the reference for one call on this context.
fn check(ctx: &Context, loss: &dyn Loss, tensors: &OwnedTensors) -> Result<(), String> {
    let want = cases::everything(loss, tensors);
    against_reference(&resident::run(ctx, loss, tensors, want, None).map_err(reason)?, loss, tensors)
}

fn against_reference(got: &Output, loss: &dyn Loss, tensors: &OwnedTensors) -> Result<(), String> {
    let want = cases::everything(loss, tensors);
    let oracle = loss.reference(&tensors.to_f64().view().wants(want)).map_err(reason)?;
    outputs(got, &oracle, cases::scales(loss, tensors), TOLERANCE)
}

/// Every loss on these shapes, in turn reduced and not.
fn check_shapes(ctx: &Context, shapes: &[&[usize]]) {
    table(|rows| {
        for (number, shape) in shapes.iter().enumerate() {
            for (place, (name, loss)) in cases::fullest(shape[1]).into_iter().enumerate() {
                let Some(tensors) = cases::example_inputs(&*loss, shape, 9) else { continue };
                let reduction = [Reduction::Mean, Reduction::None][(number + place) % 2];
                let loss = loss.with_reduction(reduction);
                let tensors = cases::with_upstream(&*loss, &tensors);
                rows.row(format!("{name} {reduction:?} {shape:?}"), check(ctx, &*loss, &tensors));
            }
        }
    });
}

// ---- Devices --------------------------------------------------------------------------------------------------------

/// What a browser promises: default limits, no features, so no subgroups. 9000 rows make several records.
#[test]
fn a_device_with_webgpus_default_limits_and_no_features_suffices() {
    let ctx = own_device(wgpu::Features::empty(), wgpu::Limits::default());
    assert_eq!(ctx.facts().expect("a GPU context").subgroup, None);
    check_shapes(&ctx, &[&[5, 3], &[3, 64], &[3, 101], &[9000, 2], &[2, 5, 3]]);
}

/// 64 KiB at once: (300, 128) is cut into three bands, (300, 101) where a row starts at an aligned offset; (3, 5, 33,
/// 33) just fits. (3, 129, 5, 25) and (3, 5023, 3) are cut into bands of one sample, which begin inside what is bound.
#[test]
fn batches_larger_than_a_binding_are_cut_into_bands() {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 16, ..wgpu::Limits::default() };
    let ctx = own_device(wgpu::Features::empty(), limits);
    let bands = |problem: &Problem| {
        let prepared = CrossEntropy::new().prepare(&ctx, problem).expect("a call that fits in bands");
        prepared.plan().dispatches().iter().filter(|dispatch| dispatch.kernel.entry() == "rows").count()
    };
    assert_eq!(bands(&Problem::rows(300, 128)), 3);
    assert_eq!(bands(&Problem::new(&[3, 129, 5, 25], TargetKind::Indices)), 3);
    table(|rows| {
        let shapes = [
            &[300, 128][..],
            &[300, 101],
            &[9_000, 5],
            &[7, 64, 70],
            &[3, 5, 33, 33],
            &[3, 129, 5, 25],
            &[3, 5_023, 3],
        ];
        for (number, shape) in shapes.into_iter().enumerate() {
            for (place, (name, loss)) in cases::fullest(shape[1]).into_iter().enumerate() {
                let Some(tensors) = cases::example_inputs(&*loss, shape, 9) else { continue };
                let reduction = [Reduction::Mean, Reduction::None][(number + place) % 2];
                let loss = loss.with_reduction(reduction);
                let tensors = cases::with_upstream(&*loss, &tensors);
                let want = cases::everything(&*loss, &tensors);
                let outcome = match resident::run(&ctx, &*loss, &tensors, want, None) {
                    // Element-wise losses, and those with lists of labels, say that they need it all at once.
                    Err(Error::Unsupported { .. }) if needs_all_at_once(&*loss, &tensors) => Ok(()),
                    got => got.map_err(reason).and_then(|got| against_reference(&got, &*loss, &tensors)),
                };
                rows.row(format!("{name} {reduction:?} {shape:?}"), outcome);
            }
        }
    });
}

fn needs_all_at_once(loss: &dyn Loss, tensors: &OwnedTensors) -> bool {
    let lists = matches!(&tensors.target, OwnedTarget::Indices(labels) if labels.shape() == tensors.input.shape());
    lists || !cases::has_rows(loss, tensors)
}

/// At most 32 workgroups along a dimension: the second dimension of the grid numbers the rest.
#[test]
fn more_workgroups_than_one_dimension_holds() {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 32, ..wgpu::Limits::default() };
    let ctx = own_device(wgpu::Features::empty(), limits);
    let plan = |problem: &Problem, strategy| {
        CrossEntropy::new().prepare_with(&ctx, problem, strategy).map(|prepared| prepared.plan().dispatches()[1].grid)
    };
    assert_eq!(plan(&Problem::rows(7_000, 3), Some(RowStrategy::Thread)), Ok([28, 4]));
    assert_eq!(plan(&Problem::rows(40, 3), Some(RowStrategy::Lanes { lanes: 64, held: 0 })), Ok([20, 2]));
    let too_many = plan(&Problem::rows(1_025, 3), Some(RowStrategy::Lanes { lanes: 64, held: 0 }));
    assert!(matches!(too_many, Err(Error::Unsupported { .. })), "{too_many:?}");
    check_shapes(&ctx, &[&[7_000, 3]]);
    table(|rows| {
        let loss = CrossEntropy::new();
        let tensors = loss.example_inputs(&[40, 9], 6);
        let strategy = Some(RowStrategy::Lanes { lanes: 64, held: 0 });
        let want = Want::LOSS | Want::GRAD;
        let got = resident::run(&ctx, &loss, &tensors, want, strategy).map_err(reason);
        let oracle = loss.reference(&tensors.to_f64().view().wants(want)).expect("a sample");
        let scales = cases::scales(&loss, &tensors);
        rows.row("a workgroup per row", got.and_then(|got| outputs(&got, &oracle, scales, TOLERANCE)));
    });
}

// ---- Buffers and encoders -------------------------------------------------------------------------------------------

/// Inputs share a buffer, outputs share another; the bytes between the outputs stay as they were.
#[test]
fn ranges_at_offsets_are_read_and_written_and_nothing_else_is() {
    table(|rows| {
        for shape in [[6, 37], [3, 64], [70, 3]] {
            for (name, loss) in cases::fullest(shape[1]) {
                for reduction in [Reduction::None, Reduction::Sum] {
                    let loss = loss.with_reduction(reduction);
                    let tensors = cases::with_upstream(&*loss, &loss.example_inputs(&shape, 3));
                    let want = cases::everything(&*loss, &tensors);
                    let compared = || {
                        let apart = resident::run(&gpu(), &*loss, &tensors, want, None).map_err(reason)?;
                        let prepared = loss.prepare(&gpu(), &cases::problem(&tensors, want)).map_err(reason)?;
                        let packed = Resident::packed(&gpu(), &*loss, &tensors, want).map_err(reason)?;
                        let together = packed.run(&gpu(), &prepared).map_err(reason)?;
                        ensure(bits(&together) == bits(&apart), || "other bits than in buffers of their own")?;
                        packed.check_guards(&gpu())
                    };
                    rows.row(format!("{name} {reduction:?} {shape:?}"), compared());
                }
            }
        }
    });
}

/// Bound once, recorded for each of four batches that are copied into the same input in between, all in one encoder.
#[test]
fn a_bound_call_is_recorded_for_changing_contents() {
    let loss = CrossEntropy::new().label_smoothing(0.1);
    let want = Want::LOSS | Want::GRAD;
    let batches: Vec<OwnedTensors> = (0..4).map(|seed| loss.example_inputs(&[9, 7], seed)).collect();
    let alone: Vec<_> = batches
        .iter()
        .map(|tensors| bits(&resident::run(&gpu(), &loss, tensors, want, None).expect("a sample")))
        .collect();

    let prepared = loss.prepare(&gpu(), &cases::problem(&batches[0], want)).expect("a sample");
    let resident = Resident::new(&gpu(), &loss, &batches[0], want).expect("a sample");
    let buffers = resident.buffers();
    let bound = prepared.bind(&buffers).expect("buffers that serve");
    let sources: Vec<_> =
        batches.iter().map(|batch| Resident::new(&gpu(), &loss, batch, want).expect("a sample")).collect();
    let mut encoder = resident::encoder(&gpu());
    let copy = |encoder: &mut wgpu::CommandEncoder, from: &Resident, to: &Resident, tensors: &[TensorId]| {
        for &tensor in tensors {
            let (from, to) = (from.range(tensor).expect("a range"), to.range(tensor).expect("a range"));
            encoder.copy_buffer_to_buffer(&from.buffer, 0, &to.buffer, 0, from.size);
        }
    };
    for source in &sources {
        copy(&mut encoder, source, &resident, &[TensorId::Input, TensorId::Target]);
        bound.record(&mut encoder);
        copy(&mut encoder, &resident, source, &[TensorId::Loss, TensorId::GradInput]);
    }
    resident::submit(&gpu(), encoder);
    table(|rows| {
        for (number, (source, alone)) in sources.iter().zip(&alone).enumerate() {
            let got = bits(&source.output(&source.download(&gpu())));
            rows.row(number, ensure(got == *alone, || "other bits than alone"));
        }
    });
}

/// What an application keeps from step to step: nothing borrows.
struct Step {
    ctx: Context,
    prepared: Prepared,
    bound: Bound,
    buffers: Resident,
}

impl Step {
    fn new(loss: &dyn Loss, tensors: &OwnedTensors, want: Want) -> Result<Self, Error> {
        let ctx = gpu();
        let prepared = loss.prepare(&ctx, &cases::problem(tensors, want))?;
        let buffers = Resident::new(&ctx, loss, tensors, want)?;
        let bound = prepared.bind(&buffers.buffers())?;
        Ok(Self { ctx, prepared, bound, buffers })
    }

    fn run(&self) -> Result<Output, Error> {
        let mut encoder = resident::encoder(&self.ctx);
        self.bound.record(&mut encoder);
        let readback = self.prepared.read(&mut encoder, &self.buffers.ranges())?;
        resident::submit(&self.ctx, encoder);
        Ok(self.buffers.output(&readback.wait()?))
    }
}

/// The struct moves to another thread and records there; what is bound outlives what it was bound from, and the
/// caller's handles.
#[test]
fn a_struct_owns_a_prepared_call_and_what_it_is_bound_to() {
    let loss = CrossEntropy::new().label_smoothing(0.1);
    let (tensors, want) = (loss.example_inputs(&[9, 7], 8), Want::LOSS | Want::GRAD);
    let alone = bits(&resident::run(&gpu(), &loss, &tensors, want, None).expect("a sample"));
    let step = Step::new(&loss, &tensors, want).expect("buffers that serve");
    let step = std::thread::spawn(move || {
        assert_eq!(bits(&step.run().expect("valid labels")), alone);
        (step, alone)
    });
    let (Step { ctx, prepared, bound, buffers }, alone) = step.join().expect("no panic");
    drop(prepared);
    let mut encoder = resident::encoder(&ctx);
    bound.record(&mut encoder);
    drop(bound);
    resident::submit(&ctx, encoder);
    assert_eq!(bits(&buffers.output(&buffers.download(&ctx))), alone);
}

/// Sixteen threads, one context: each prepares, records, submits and reads its own calls.
#[test]
fn several_threads_record_at_once() {
    let ctx = gpu();
    let expected: Vec<_> = cases::fullest(33)
        .into_iter()
        .map(|(name, loss)| {
            let tensors = loss.example_inputs(&[12, 33], 2);
            let want = cases::everything(&*loss, &tensors);
            let alone = bits(&resident::run(&ctx, &*loss, &tensors, want, None).expect("a sample"));
            (name, loss, tensors, want, alone)
        })
        .collect();
    let outcomes: Vec<(String, bool)> = std::thread::scope(|scope| {
        let run = |thread: usize| {
            let (ctx, expected) = (ctx.clone(), &expected);
            move || {
                let calls = expected.iter().cycle().skip(thread * 3).take(expected.len() / 2);
                let outcome = calls.map(|(name, loss, tensors, want, alone)| {
                    let got = resident::run(&ctx, &**loss, tensors, *want, None).expect("a sample");
                    (format!("thread {thread} {name}"), bits(&got) == *alone)
                });
                outcome.collect::<Vec<_>>()
            }
        };
        let threads: Vec<_> = (0..16).map(|thread| scope.spawn(run(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    table(|rows| {
        for (name, same) in outcomes {
            rows.row(name, ensure(same, || "other bits than alone"));
        }
    });
}

/// Awaited on one thread while another polls the device, as an application with a loop of its own does.
#[test]
fn a_readback_is_a_future() {
    let loss = CrossEntropy::new();
    let tensors = loss.example_inputs(&[8, 5], 1);
    let want = Want::LOSS | Want::GRAD;
    let alone = resident::run(&gpu(), &loss, &tensors, want, None).expect("a sample");
    let prepared = loss.prepare(&gpu(), &cases::problem(&tensors, want)).expect("a sample");
    let resident = Resident::new(&gpu(), &loss, &tensors, want).expect("a sample");
    let mut encoder = resident::encoder(&gpu());
    prepared.record(&mut encoder, &resident.buffers()).expect("buffers that serve");
    let readback = prepared.read(&mut encoder, &resident.ranges()).expect("ranges of buffers");
    resident::submit(&gpu(), encoder);
    let resolved = readback.resolve();
    let waiting = std::thread::spawn(move || pollster::block_on(resolved));
    while !waiting.is_finished() {
        resident::device(&gpu()).poll(wgpu::PollType::Poll).expect("a device that works");
        std::thread::yield_now();
    }
    let parts = waiting.join().expect("no panic").expect("valid targets");
    assert_eq!(bits(&resident.output(&parts)), bits(&alone));
}

/// Class weights from a buffer are class weights from the host.
#[test]
fn weights_from_a_buffer_equal_weights_from_the_host() {
    let weight: Vec<f32> = (0..9).map(|c| 0.25 + c as f32 * 0.5).collect();
    let buffer = upload(&gpu(), bytemuck::cast_slice(&weight));
    let losses: [(Box<dyn Loss>, Box<dyn Loss>); 2] = [
        (Box::new(CrossEntropy::new().weight_from_buffer()), Box::new(CrossEntropy::new().weight(weight.clone()))),
        (Box::new(Nll::new().weight_from_buffer()), Box::new(Nll::new().weight(weight.clone()))),
    ];
    table(|rows| {
        for (from_buffer, from_host) in losses {
            for reduction in [Reduction::None, Reduction::Mean] {
                let (from_buffer, from_host) =
                    (from_buffer.with_reduction(reduction), from_host.with_reduction(reduction));
                let tensors = from_host.example_inputs(&[13, 9], 4);
                let want = Want::LOSS | Want::GRAD;
                let expected = resident::run(&gpu(), &*from_host, &tensors, want, None).expect("a sample");
                let prepared = from_buffer.prepare(&gpu(), &cases::problem(&tensors, want)).expect("a sample");
                let resident = Resident::new(&gpu(), &*from_host, &tensors, want).expect("a sample");
                let name = format!("{} {reduction:?}", from_host.info().name);

                let mut encoder = resident::encoder(&gpu());
                let missing = prepared.record(&mut encoder, &resident.buffers());
                let refused = matches!(missing, Err(Error::Missing { argument: "weight", .. }));
                rows.row(format!("{name} without one"), ensure(refused, || format!("{missing:?}")));

                let buffers = Buffers { weight: Some(buffer.as_entire_buffer_binding()), ..resident.buffers() };
                prepared.record(&mut encoder, &buffers).expect("buffers that serve");
                resident::submit(&gpu(), encoder);
                let got = resident.output(&resident.download(&gpu()));
                rows.row(&name, ensure(bits(&got) == bits(&expected), || "other bits"));
            }
        }
    });
}

// ---- Invalid targets ------------------------------------------------------------------------------------------------

/// A label out of range: NaN for its row, gradient 0 there, a status, and every other bit as if the label were in
/// range.
#[test]
fn a_label_out_of_range_corrupts_its_row_and_no_other() {
    // Shapes: threads, groups, a class axis in the middle, several records. The rows whose labels are out of range.
    let shapes: [(&[usize], &[usize]); 5] = [
        (&[7, 5], &[3]),
        (&[4, 64], &[0, 3]),
        (&[2, 5, 3], &[1, 4]),
        (&[9_000, 3], &[8_200, 8_999]),
        (&[3, 101], &[2]),
    ];
    let values = [i64::from(i32::MAX), i64::from(i32::MIN), -7];
    let losses: [(&str, Box<dyn Loss>); 3] = [
        ("cross_entropy", Box::new(CrossEntropy::new())),
        ("cross_entropy with smoothing", Box::new(CrossEntropy::new().label_smoothing(0.2))),
        ("nll_loss", Box::new(Nll::new())),
    ];
    table(|rows| {
        for (shape, invalid) in shapes {
            for (name, loss) in &losses {
                for reduction in [Reduction::None, Reduction::Mean, Reduction::Sum] {
                    for value in values.into_iter().chain([shape[1] as i64]) {
                        let loss = loss.with_reduction(reduction);
                        let outcome = with_labels_out_of_range(&*loss, shape, invalid, value, reduction);
                        rows.row(format!("{name} {reduction:?} {shape:?} label {value}"), outcome);
                    }
                }
            }
        }
    });
}

fn with_labels_out_of_range(
    loss: &dyn Loss,
    shape: &[usize],
    invalid: &[usize],
    value: i64,
    reduction: Reduction,
) -> Result<(), String> {
    let want = Want::LOSS | Want::GRAD;
    let mut tensors = loss.example_inputs(shape, 12);
    let set = |tensors: &mut OwnedTensors, value: i64| {
        if let OwnedTarget::Indices(labels) = &mut tensors.target {
            labels
                .iter_mut()
                .enumerate()
                .filter(|(row, _)| invalid.contains(row))
                .for_each(|(_, label)| *label = value);
        }
    };
    set(&mut tensors, 1);
    let valid = resident::run(&gpu(), loss, &tensors, want, None).map_err(reason)?;
    set(&mut tensors, value);
    let (got, status) = resident::run_despite_status(&gpu(), loss, &tensors, want).map_err(reason)?;

    let (count, first) = (invalid.len() as u32, invalid[0] as u32);
    let expected = Err(Error::Invalid { argument: "target", count, first, value: value.to_string() });
    if status != expected {
        return Err(format!("status {status:?}"));
    }
    let rows_of = |output: &Output| -> Vec<Vec<f32>> {
        let grad = output.grad_input.as_ref().expect("a gradient");
        grad.lanes(Axis(1)).into_iter().map(|row| row.to_vec()).collect()
    };
    for (row, (got, valid)) in rows_of(&got).into_iter().zip(rows_of(&valid)).enumerate() {
        let expected = if invalid.contains(&row) { vec![0.0; got.len()] } else { valid };
        if got.iter().map(|g| g.to_bits()).ne(expected.iter().map(|g| g.to_bits())) {
            return Err(format!("gradient of row {row} is {got:?}, expected {expected:?}"));
        }
    }
    let losses = |output: &Output| output.loss.iter().flatten().copied().collect::<Vec<f32>>();
    let (got, valid) = (losses(&got), losses(&valid));
    if reduction != Reduction::None {
        return ensure(got[0].is_nan(), || format!("reduced loss {}", got[0]));
    }
    for (row, (got, valid)) in got.iter().zip(&valid).enumerate() {
        let right = if invalid.contains(&row) { got.is_nan() } else { got.to_bits() == valid.to_bits() };
        if !right {
            return Err(format!("loss of row {row} is {got}, valid {valid}"));
        }
    }
    Ok(())
}

/// The status of one run does not leak into the next.
#[test]
fn a_status_is_gone_once_the_labels_are_corrected() {
    let loss = CrossEntropy::new();
    let mut tensors = loss.example_inputs(&[6, 4], 1);
    let prepared = loss.prepare(&gpu(), &cases::problem(&tensors, Want::LOSS)).expect("a sample");
    let good = Resident::new(&gpu(), &loss, &tensors, Want::LOSS).expect("a sample");
    if let OwnedTarget::Indices(labels) = &mut tensors.target {
        labels[2] = 4;
    }
    let bad = Resident::new(&gpu(), &loss, &tensors, Want::LOSS).expect("a sample");
    for _ in 0..3 {
        let error = bad.run(&gpu(), &prepared).expect_err("a label out of range");
        assert!(matches!(error, Error::Invalid { count: 1, first: 2, .. }), "{error}");
        assert!(error.to_string().contains("index 2 with value 4"), "{error}");
        good.run(&gpu(), &prepared).expect("valid labels");
    }
}

// ---- Buffers that cannot serve --------------------------------------------------------------------------------------

/// Each refused with the argument's name and what it needs, before anything is recorded: the encoder still works, and
/// the outputs are untouched after its submit.
#[test]
fn buffers_that_cannot_serve_are_refused_and_nothing_is_recorded() {
    let loss = CrossEntropy::new().reduction(Reduction::None);
    let tensors = cases::with_upstream(&loss, &loss.example_inputs(&[64, 4], 1));
    let want = Want::LOSS | Want::GRAD;
    let prepared = loss.prepare(&gpu(), &cases::problem(&tensors, want)).expect("a sample");
    let alignment = facts().offset_alignment;
    let good = Resident::new(&gpu(), &loss, &tensors, want).expect("a sample");
    let large = upload(&gpu(), &vec![0; 16_384]);
    let small = upload(&gpu(), &[0; 1020]);
    let no_storage = resident::device(&gpu()).create_buffer(&wgpu::BufferDescriptor {
        label: Some("test"),
        size: 16_384,
        usage: wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    let at = |buffer, offset| Some(wgpu::BufferBinding { buffer, offset, size: None });
    let sized = |buffer, size| Some(wgpu::BufferBinding { buffer, offset: 0, size: wgpu::BufferSize::new(size) });
    let whole = |tensor| good.range(tensor).map(|range| range.binding());

    let missing: Vec<(&str, Buffers<'_>)> = vec![
        ("input", Buffers { input: None, ..good.buffers() }),
        ("target", Buffers { target: None, ..good.buffers() }),
        ("grad_output", Buffers { grad_output: None, ..good.buffers() }),
        ("loss", Buffers { loss: None, ..good.buffers() }),
        ("grad_input", Buffers { grad_input: None, ..good.buffers() }),
    ];
    let mut wrong: Vec<(&str, &[&str], Buffers<'_>)> = vec![
        ("input", &["1024 bytes", "1020 bytes"], Buffers { input: at(&small, 0), ..good.buffers() }),
        ("grad_input", &["1024 bytes", "1020 bytes"], Buffers { grad_input: at(&small, 0), ..good.buffers() }),
        ("input", &["1024 bytes", "512 bytes"], Buffers { input: sized(&large, 512), ..good.buffers() }),
        ("loss", &["256 bytes", "0 bytes"], Buffers { loss: at(&large, 16_384), ..good.buffers() }),
        ("loss", &["256 bytes", "0 bytes"], Buffers { loss: at(&large, 1 << 40), ..good.buffers() }),
        ("target", &["256 bytes", "0 bytes"], Buffers { target: at(&large, u64::MAX - 255), ..good.buffers() }),
        (
            "grad_input",
            &["1024 bytes", "0 bytes"],
            Buffers { grad_input: at(&large, u64::MAX - 255), ..good.buffers() },
        ),
        ("input", &["STORAGE", "COPY_SRC"], Buffers { input: at(&no_storage, 0), ..good.buffers() }),
        ("loss", &["STORAGE", "COPY_SRC"], Buffers { loss: at(&no_storage, 0), ..good.buffers() }),
        ("grad_input", &["apart", "`input`"], Buffers { grad_input: whole(TensorId::Input), ..good.buffers() }),
        ("loss", &["apart", "`grad_output`"], Buffers { loss: whole(TensorId::GradOutput), ..good.buffers() }),
        (
            "loss",
            &["apart", "`grad_input`", "0..256", "0..1024"],
            Buffers { loss: at(&large, 0), grad_input: at(&large, 0), ..good.buffers() },
        ),
        (
            "loss",
            &["apart", "`grad_input`"],
            Buffers { loss: at(&large, 8448), grad_input: at(&large, 8192), ..good.buffers() },
        ),
        (
            "loss",
            &["apart", "`grad_input`"],
            Buffers { loss: at(&large, 8960), grad_input: at(&large, 8192), ..good.buffers() },
        ),
    ];
    if alignment > 4 {
        wrong.push(("input", &["multiple of", "offset 4"], Buffers { input: at(&large, 4), ..good.buffers() }));
        wrong.push(("loss", &["multiple of", "offset 12"], Buffers { loss: at(&large, 12), ..good.buffers() }));
    }

    let mut encoder = resident::encoder(&gpu());
    table(|rows| {
        for (argument, buffers) in missing {
            let error = prepared.record(&mut encoder, &buffers).expect_err("a buffer is missing");
            let named = matches!(&error, Error::Missing { argument: name, .. } if *name == argument);
            rows.row(format!("no {argument}"), ensure(named, || format!("{error:?}")));
        }
        for (argument, words, buffers) in wrong {
            let outcome = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                prepared.record(&mut encoder, &buffers)
            })) {
                Ok(Err(error)) => {
                    let named = matches!(&error, Error::Buffer { argument: name, .. } if *name == argument);
                    let message = error.to_string();
                    let said = words.iter().all(|word| message.contains(word));
                    ensure(named && said, || message)
                }
                Ok(Ok(())) => Err("accepted".to_owned()),
                Err(_) => Err("panicked".to_owned()),
            };
            rows.row(format!("{argument}: {words:?}"), outcome);
        }
        // Tensors that touch, but do not overlap, may share a buffer.
        let buffers = Buffers { loss: at(&large, 9216), grad_input: at(&large, 8192), ..good.buffers() };
        rows.row("outputs side by side", prepared.bind(&buffers).map(|_| ()).map_err(reason));
        let buffers = Buffers { input: at(&large, 7168), ..buffers };
        rows.row("beside an input", prepared.bind(&buffers).map(|_| ()).map_err(reason));
    });
    resident::submit(&gpu(), encoder);
    let untouched = |part: Vec<u8>| bytemuck::pod_collect_to_vec::<u8, f32>(&part).iter().all(|&v| v == UNTOUCHED);
    assert!(good.download(&gpu()).into_iter().all(untouched), "something was recorded");
}

/// The empty batch needs no buffers of a size, and leaves a loss.
#[test]
fn an_empty_batch_is_recorded_too() {
    table(|rows| {
        for (reduction, expected) in [(Reduction::Mean, f32::NAN), (Reduction::Sum, 0.0)] {
            let loss = CrossEntropy::new().reduction(reduction);
            let tensors = OwnedTensors::new(ArrayD::zeros(vec![0, 5]), OwnedTarget::Indices(ArrayD::zeros(vec![0])));
            let got = resident::run(&gpu(), &loss, &tensors, Want::LOSS, None).map(|output| output.scalar());
            let right = matches!(got, Ok(Some(loss)) if loss == expected || loss.is_nan() && expected.is_nan());
            rows.row(format!("{reduction:?}"), ensure(right, || format!("{got:?}")));
        }
    });
}
