//! Proves that a fault of the device, of its limits or of the order of calls ends in an error that says so: nothing panics, nothing is
//! dropped, and no result is made up.

use deeploss::internals::TensorId;
use deeploss::{
    Buffers, Context, CrossEntropy, Dtype, Error, Evaluate, Hinge, Loss, MarginRanking, MultiLabelMargin, Prepared,
    Problem, TargetKind, Tensors, Want,
};
use ndarray::array;

use crate::support::compare::bits;
use crate::support::resident::{self, Resident, upload};
use crate::support::{cases, device_of, ensure, gpu, in_its_own_process, memory, own_device, reason, table};

/// A device of its own, to be destroyed.
fn mortal() -> Context {
    own_device(wgpu::Features::empty(), wgpu::Limits::default())
}

/// Two devices of one instance: of another instance a buffer cannot be told.
fn neighbours() -> [Context; 2] {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    [(); 2].map(|()| device_of(&instance, wgpu::Features::empty(), wgpu::Limits::default()))
}

fn device(ctx: &Context) -> &wgpu::Device {
    resident::device(ctx)
}

/// A prepared call of cross-entropy and its buffers.
fn call(ctx: &Context) -> (Prepared, Resident) {
    let loss = CrossEntropy::new();
    let tensors = loss.example_inputs(&[8, 5], 1);
    let want = Want::LOSS | Want::GRAD;
    let prepared = loss.prepare(ctx, &cases::problem(&tensors, want)).expect("a device that works");
    (prepared, Resident::new(ctx, &loss, &tensors, want).expect("a sample"))
}

/// Refused because of the device, in words that hold this one.
fn is_device<T>(got: Result<T, Error>, word: &str) -> Result<(), String> {
    match got {
        Err(error @ Error::Device { .. }) if !error.is_invalid_input() => {
            let message = error.to_string();
            ensure(message.contains(word), || format!("`{message}` lacks `{word}`"))
        }
        Err(error) => Err(format!("{error:?}")),
        Ok(_) => Err("accepted".into()),
    }
}

// ---- The order of calls ---------------------------------------------------------------------------------------------

/// What has not run has no result. The commands can be submitted all the same, and another readback finds what they computed.
#[test]
fn a_readback_that_was_not_submitted_is_refused() {
    let ctx = gpu();
    let (prepared, tensors) = call(&ctx);
    let expected = bits(&tensors.run(&ctx, &prepared).expect("valid labels"));
    let mut encoder = resident::encoder(&ctx);
    prepared.record(&mut encoder, &tensors.buffers()).expect("buffers that serve");
    let readback = prepared.read(&mut encoder, &tensors.ranges()).expect("ranges of buffers");
    let early = readback.wait();
    assert_eq!(early, Err(Error::NotSubmitted));
    assert!(Error::NotSubmitted.to_string().contains("submit the encoder"));
    resident::submit(&ctx, encoder);
    assert_eq!(bits(&tensors.output(&tensors.download(&ctx))), expected);

    // An encoder that is dropped will never be submitted.
    let mut encoder = resident::encoder(&ctx);
    let readback = prepared.read(&mut encoder, &tensors.ranges()).expect("ranges of buffers");
    drop(encoder);
    assert_eq!(readback.wait(), Err(Error::NotSubmitted));
    let mut encoder = resident::encoder(&ctx);
    let readback = prepared.read(&mut encoder, &tensors.ranges()).expect("ranges of buffers");
    let resolved = readback.resolve();
    drop(encoder);
    assert_eq!(pollster::block_on(resolved), Err(Error::NotSubmitted));
}

/// A future that is made, and polled, before the submit waits for it, and does not stand in its way.
#[test]
fn a_future_may_be_awaited_before_the_submit() {
    let ctx = gpu();
    let (prepared, tensors) = call(&ctx);
    let expected = bits(&tensors.run(&ctx, &prepared).expect("valid labels"));
    let mut encoder = resident::encoder(&ctx);
    prepared.record(&mut encoder, &tensors.buffers()).expect("buffers that serve");
    let resolved = prepared.read(&mut encoder, &tensors.ranges()).expect("ranges of buffers").resolve();
    let waiting = std::thread::spawn(move || pollster::block_on(resolved));
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert!(!waiting.is_finished(), "it was resolved before anything ran");
    resident::submit(&ctx, encoder);
    while !waiting.is_finished() {
        device(&ctx).poll(wgpu::PollType::Poll).expect("a device that works");
        std::thread::yield_now();
    }
    let parts = waiting.join().expect("no panic").expect("valid labels");
    assert_eq!(bits(&tensors.output(&parts)), expected);
}

/// Commands that the device refuses have not run; their staging buffers are mapped all the same, and hold zeros.
#[test]
fn a_submit_that_is_refused_gives_no_zeros() {
    let ctx = mortal();
    let (prepared, tensors) = call(&ctx);
    let mut encoder = resident::encoder(&ctx);
    prepared.record(&mut encoder, &tensors.buffers()).expect("buffers that serve");
    let readback = prepared.read(&mut encoder, &tensors.ranges()).expect("ranges of buffers");
    // One of the buffers that the commands use.
    tensors.range(TensorId::Input).expect("an input").buffer.destroy();
    let scope = device(&ctx).push_error_scope(wgpu::ErrorFilter::Validation);
    resident::submit(&ctx, encoder);
    assert!(pollster::block_on(scope.pop()).is_some(), "wgpu accepts a destroyed buffer");
    is_device(readback.wait(), "have not run").unwrap();
}

/// Ranges that cannot be copied are refused by what they lack, before anything is recorded.
#[test]
fn ranges_that_cannot_be_read_are_refused() {
    let [ctx, other] = neighbours();
    let (prepared, tensors) = call(&ctx);
    let good = upload(&ctx, &[0; 256]);
    let foreign = upload(&other, &[0; 256]);
    let no_copy = device(&ctx).create_buffer(&wgpu::BufferDescriptor {
        label: Some("test"),
        size: 256,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let range = |buffer, offset, size| wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(size) };
    let wrong = [
        ("30 bytes", range(&good, 0, 30), "multiples of 4"),
        ("an offset of 2", range(&good, 2, 32), "multiples of 4"),
        ("no COPY_SRC", range(&no_copy, 0, 32), "COPY_SRC"),
        ("past the end", range(&good, 240, 32), "256 bytes"),
        ("an offset past the end", range(&good, 512, 0), "256 bytes"),
        ("an offset that overflows", range(&good, u64::MAX - 3, 8), "256 bytes"),
        ("of another device", range(&foreign, 0, 32), "device"),
    ];
    let mut encoder = resident::encoder(&ctx);
    table(|rows| {
        for (name, range, word) in wrong {
            // The second of two ranges is at fault.
            let got = prepared.read(&mut encoder, &[good.as_entire_buffer_binding(), range]).map(|_| ());
            let right = match &got {
                Err(error @ Error::Buffer { argument: "tensors", .. }) => error.to_string().contains("range 1"),
                Err(Error::Device { .. }) => true,
                _ => false,
            };
            let said = got.as_ref().is_err_and(|error| error.to_string().contains(word));
            rows.row(name, ensure(right && said, || format!("{got:?}")));
        }
    });
    resident::submit(&ctx, encoder);
    tensors.run(&ctx, &prepared).expect("the device still works");
}

// ---- Tensors that do not belong -------------------------------------------------------------------------------------

/// A buffer for a tensor that the call does not take is not silently dropped.
#[test]
fn tensors_that_a_call_was_not_prepared_with_are_refused() {
    let ctx = gpu();
    let spare = upload(&ctx, &[0; 4096]);
    let loss = CrossEntropy::new().weight([1.0; 5]);
    let tensors = loss.example_inputs(&[8, 5], 1);
    let prepared = loss.prepare(&ctx, &cases::problem(&tensors, Want::LOSS)).expect("a sample");
    let resident = Resident::new(&ctx, &loss, &tensors, Want::LOSS).expect("a sample");
    table(|rows| {
        for &tensor in TensorId::OF_CALLER {
            if resident.range(tensor).is_some() {
                continue;
            }
            let buffers = Buffers::from_fn(|asked| {
                if asked == tensor {
                    return Some(spare.as_entire_buffer_binding());
                }
                resident.range(asked).map(|range| range.binding())
            });
            let got = prepared.bind(&buffers).map(|_| ());
            let method = match tensor {
                TensorId::Weight => "weight_from_buffer",
                TensorId::IgnoreMask => "with_ignore_mask",
                TensorId::SampleWeight => "with_sample_weight",
                TensorId::GradOutput => "with_grad_output",
                TensorId::GradInput => "Want::GRAD",
                _ => "without",
            };
            let outcome = match &got {
                Err(error @ Error::Value { argument, .. }) if *argument == tensor.name() => {
                    ensure(error.to_string().contains(method), || error.to_string())
                }
                _ => Err(format!("{got:?}")),
            };
            rows.row(tensor.name(), outcome);
        }
    });
}

#[test]
fn buffers_of_another_device_and_destroyed_ones_are_refused() {
    let [ctx, other] = neighbours();
    let (prepared, tensors) = call(&ctx);
    let range = tensors.range(TensorId::Input).expect("an input");
    let foreign = upload(&other, &vec![0; range.size as usize]);
    let gone = upload(&ctx, &vec![0; range.size as usize]);
    gone.destroy();
    table(|rows| {
        for (name, buffer, word) in [("another device", &foreign, "device"), ("destroyed", &gone, "destroyed")] {
            let buffers = Buffers { input: Some(buffer.as_entire_buffer_binding()), ..tensors.buffers() };
            rows.row(name, is_device(prepared.bind(&buffers), word));
        }
    });
    tensors.run(&ctx, &prepared).expect("the device still works");
}

// ---- Lost devices ---------------------------------------------------------------------------------------------------

/// Every call on a device that is gone says so. What is known of it remains known, and a new context works.
#[test]
fn a_destroyed_device_is_reported_by_every_call() {
    let loss = CrossEntropy::new();
    let (logits, labels) = (array![[1.0_f32, 2.0]], array![0]);
    let problem = Problem::rows(4, 3);
    let ctx = mortal();
    let (prepared, tensors) = call(&ctx);
    let bound = prepared.bind(&tensors.buffers()).expect("buffers that serve");
    let mut before = resident::encoder(&ctx);
    prepared.record(&mut before, &tensors.buffers()).expect("buffers that serve");
    let recorded = prepared.read(&mut before, &tensors.ranges()).expect("ranges of buffers");
    let mut ready = resident::encoder(&ctx);
    prepared.record(&mut ready, &tensors.buffers()).expect("buffers that serve");
    let submitted = prepared.read(&mut ready, &tensors.ranges()).expect("ranges of buffers");
    resident::submit(&ctx, ready);
    device(&ctx).destroy();

    let word = "lost or destroyed";
    table(|rows| {
        let evaluated = loss.evaluate(&ctx, &Tensors::new(logits.view(), labels.view()));
        rows.row("evaluate", is_device(evaluated, word));
        rows.row("prepare", is_device(loss.prepare(&ctx, &problem), word));
        rows.row("bind", is_device(prepared.bind(&tensors.buffers()), word));
        let mut encoder = resident::encoder(&ctx);
        rows.row("record", is_device(prepared.record(&mut encoder, &tensors.buffers()), word));
        rows.row("read", is_device(prepared.read(&mut encoder, &tensors.ranges()), word));
        bound.record(&mut encoder);
        resident::submit(&ctx, encoder);
        resident::submit(&ctx, before);
        rows.row("wait, recorded before", is_device(recorded.wait(), ""));
        // What was done in time may be had.
        let late = submitted.wait();
        let outcome = if late.is_ok() { Ok(()) } else { is_device(late, "") };
        rows.row("wait, submitted before", outcome);
        rows.row("prove", is_device(ctx.prove(), word));
        rows.row("measure", is_device(deeploss::measure(&ctx, &loss, &problem), word));
        rows.row("facts", ensure(ctx.facts().is_some_and(|facts| !facts.name.is_empty()), || "no facts"));
        rows.row("a new context", loss.prepare(&mortal(), &problem).map(|_| ()).map_err(reason));
    });
}

/// A kernel that the device refuses is an error of `prepare`, each time, and of its future.
#[test]
fn a_kernel_that_the_device_refuses_is_reported() {
    let ctx = mortal();
    let mut facts = ctx.facts().expect("a GPU").clone();
    facts.max_storage_buffers = 16;
    let ctx = ctx.with_facts(facts).expect("a GPU");
    let loss = CrossEntropy::new().weight([1.0; 5]);
    let problem = Problem::rows(40, 5).with_ignore_mask().with_grad_output().with_sample_weight();
    table(|rows| {
        for call in ["first", "second"] {
            rows.row(call, is_device(loss.prepare(&ctx, &problem), "storage"));
        }
        rows.row("prepare_async", is_device(pollster::block_on(loss.prepare_async(&ctx, &problem)), "storage"));
    });
}

/// A future is ready when it is polled first: there is no executor that could poll the device meanwhile.
#[test]
fn a_call_as_a_future_gives_what_the_call_gives() {
    let (logits, labels) = (array![[1.0_f32, 2.0], [0.5, -1.0]], array![0, 1]);
    let tensors = Tensors::new(logits.view(), labels.view());
    let loss = CrossEntropy::new();
    for (_, ctx) in crate::support::places() {
        let mut future = std::pin::pin!(loss.evaluate_async(&ctx, &tensors));
        let polled = future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        let std::task::Poll::Ready(given) = polled else { panic!("pending") };
        assert_eq!(given, loss.evaluate(&ctx, &tensors));
    }
}

// ---- Limits ---------------------------------------------------------------------------------------------------------

/// Tensors and scratch larger than a buffer can be are refused when the call is prepared, by name and with what to do.
#[test]
fn what_no_buffer_holds_is_refused_by_name() {
    let webgpu = mortal();
    let limits = |max_buffer_size| {
        let defaults = wgpu::Limits::default();
        let binding = defaults.max_storage_buffer_binding_size.min(max_buffer_size);
        wgpu::Limits { max_buffer_size, max_storage_buffer_binding_size: binding, ..defaults }
    };
    let small = own_device(wgpu::Features::empty(), limits(1 << 20));
    let ce = CrossEntropy::new();
    let most = gpu().facts().expect("a GPU context").max_buffer as usize;
    let half = Problem::rows(most / 1000 / 2 + 1, 1000).input_dtype(Dtype::F16).grad_dtype(Dtype::F16);
    let elements = |n: usize| Problem::new(&[n], TargetKind::Values);
    let pairs = Problem::new(&[1, 600], TargetKind::Values).input2_shape(&[600, 1]).target_shape(&[1]);
    let outcomes = [
        ("280 MB of logits", ce.prepare(&webgpu, &Problem::rows(70_000, 1000)), "`input` of 280000000 bytes"),
        ("16-bit logits", ce.prepare(&gpu(), &half), "`input` of"),
        ("a million rows", ce.prepare(&small, &Problem::rows(1_000_000, 2)), "1000000"),
        ("a million pairs", ce.prepare(&small, &Problem::rows(250_000, 2)), "`input` of 2000000 bytes"),
        ("a million elements", Hinge::new().prepare(&small, &elements(1_000_000)), "1000000"),
        ("what is broadcast", MarginRanking::new().prepare(&small, &pairs), "360000"),
    ];
    table(|rows| {
        for (name, outcome, word) in outcomes {
            let outcome = match outcome.map(|_| ()) {
                Err(error @ Error::Unsupported { .. }) => {
                    let message = error.to_string();
                    ensure(message.contains(word) && message.contains("split"), || message)
                }
                other => Err(format!("{other:?}")),
            };
            rows.row(name, outcome);
        }
        // Scratch with a value per class is needed for one band at a time.
        let lists = Problem::new(&[3_000, 64], TargetKind::Indices);
        let prepared = MultiLabelMargin::new().prepare(&small, &lists);
        let scratch = prepared.as_ref().map(Prepared::scratch_bytes).map_err(reason);
        rows.row("label counts", scratch.and_then(|bytes| ensure(bytes < 1 << 20, || format!("{bytes} bytes"))));
    });
}

/// In a process of its own, whose address space is bounded while it runs: there a device has no memory left.
#[cfg(target_os = "linux")]
#[test]
fn a_device_without_memory_is_reported() {
    in_its_own_process("faults::in_a_small_address_space");
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "bounds the memory of its process: another test runs it in one of its own"]
fn in_a_small_address_space() {
    let ctx = gpu();
    let loss = CrossEntropy::new();
    let problem = Problem::rows(1 << 24, 2);
    let logits = ndarray::Array2::<f32>::zeros((1 << 24, 2));
    let labels = ndarray::Array1::<i64>::zeros(1 << 24);
    let evaluate = || loss.evaluate(&ctx, &Tensors::new(logits.view(), labels.view()).wants(Want::LOSS));
    evaluate().expect("memory for it");
    // 24 MiB more than the process has: less than any tensor of the call.
    let bound = |bytes| {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: the limit is a value on the stack, which is read.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0, "the limit is refused");
    };
    bound(memory("VmSize") + (24 << 20));
    let refused =
        [("evaluate", is_device(evaluate(), "emory")), ("prepare", is_device(loss.prepare(&ctx, &problem), "emory"))];
    bound(libc::RLIM_INFINITY);
    table(|rows| {
        for (name, outcome) in refused {
            rows.row(name, outcome);
        }
        rows.row("afterwards", evaluate().map(|_| ()).map_err(reason));
    });
}
