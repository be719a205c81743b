//! Proves the proofs: what a context says of its device is what another kernel sees there, and nothing is said of a
//! device that was not tried. That a fault is noticed is proven beside the verdicts, in src/gpu/prove.rs.

use std::time::Instant;

use deeploss::{Context, CrossEntropy, Error, Evaluate, Problem, Proven, Tuning};

use crate::support::{facts, gpu, own_device};

/// The device that `Context::new` would make, as a caller's.
fn callers() -> Context {
    let ctx = gpu();
    let device = ctx.device().expect("a GPU context");
    own_device(device.features() & Context::FEATURES, device.limits())
}

fn proven(ctx: &Context) -> Proven {
    ctx.facts().expect("a GPU context").proven
}

#[test]
fn a_callers_device_is_proven_when_asked_for() {
    let ctx = callers().with_tuning(Tuning::default().runtime_checks(false));
    assert_eq!(proven(&ctx), Proven::default());
    let start = Instant::now();
    let proved = ctx.prove().expect("a proof");
    println!("{} is proven in {:?}", proven(&proved), start.elapsed());
    assert_eq!(proven(&proved), facts().proven);
    assert_ne!(proven(&proved), Proven::default());
    // The device and what the caller chose stay.
    assert_eq!(proved.device(), ctx.device());
    assert_eq!(proved.tuning(), ctx.tuning());
    let mut same = proved.facts().expect("a GPU context").clone();
    same.proven = Proven::default();
    assert_eq!(Some(&same), ctx.facts());
    assert!(CrossEntropy::new().prepare(&proved, &Problem::rows(4, 10)).is_ok());
}

/// Without the feature no subgroup is looked at; the rest is the same.
#[test]
fn lanes_are_proven_only_on_devices_with_subgroups() {
    let ctx = own_device(wgpu::Features::empty(), wgpu::Limits::downlevel_defaults());
    let mut expected = facts().proven;
    expected.subgroup_lanes = 0;
    assert_eq!(proven(&ctx.prove().expect("a proof")), expected);
}

/// What a few operands give in a kernel of this test's own.
#[test]
fn what_is_proven_is_what_another_kernel_sees() {
    const KERNEL: &str = "
        @group(0) @binding(0) var<storage, read> given: array<f32>;
        @group(0) @binding(1) var<storage, read_write> got: array<f32>;
        @compute @workgroup_size(1)
        fn kernel(@builtin(workgroup_id) id: vec3<u32>) {
            let at = 3u * id.x;
            got[2u * id.x] = fma(given[at], given[at + 1u], given[at + 2u]);
            got[2u * id.x + 1u] = exp2(given[at]);
        }";
    // Of each product all but its rounding error is taken away, which is left only where nothing was rounded before.
    let given: Vec<f32> = (1..190)
        .flat_map(|k| {
            let a = -(1.0 + k as f32 * 0.629_831);
            [a, 1.1, -(a * 1.1)]
        })
        .collect();
    let got = run(&gpu(), KERNEL, &given);
    let triples = || given.chunks(3).zip(got.chunks(2));
    let fused = triples().all(|(given, got)| got[0] == given[0].mul_add(given[1], given[2]));
    let near = triples().all(|(given, got)| {
        let exact = f64::from(given[0]).exp2();
        (f64::from(got[1]) - exact).abs() <= 4e-7 * exact
    });
    let proven = facts().proven;
    assert_eq!(proven.fma, fused, "{proven}");
    assert!(!proven.exp2 || near, "{proven}");
    // Mesa's software Vulkan has one lane for each float of a vector register.
    if facts().is_cpu && facts().subgroup == Some((8, 8)) {
        assert_eq!(proven.subgroup_lanes, 8);
    }
}

/// The words that a kernel writes, two for each three that it is given.
fn run(ctx: &Context, kernel: &str, given: &[f32]) -> Vec<f32> {
    let (device, queue) = (ctx.device().expect("a device"), ctx.queue().expect("a queue"));
    let buffer = |len: usize, usage| {
        let size = 4 * len as u64;
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    };
    let len = given.len() / 3 * 2;
    let input = buffer(given.len(), wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST);
    let output = buffer(len, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC);
    let staging = buffer(len, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    queue.write_buffer(&input, 0, &given.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(kernel.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry { binding: 0, resource: input.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: output.as_entire_binding() },
        ],
    });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups(given.len() as u32 / 3, 1, 1);
    drop(pass);
    encoder.copy_buffer_to_buffer(&output, 0, &staging, 0, 4 * len as u64);
    queue.submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |mapped| mapped.expect("mapped"));
    device.poll(wgpu::PollType::wait_indefinitely()).expect("the device answers");
    let bytes = staging.get_mapped_range(..).expect("mapped").to_vec();
    bytes.chunks_exact(4).map(|word| f32::from_le_bytes(word.try_into().expect("four bytes"))).collect()
}

#[test]
fn the_cpu_has_nothing_to_prove() {
    assert!(matches!(Context::cpu().prove(), Err(Error::Unsupported { .. })));
}

/// Executors move futures between threads.
#[test]
fn the_futures_are_send() {
    fn moves(_: impl Send) {}
    let ctx = Context::cpu();
    moves(ctx.prove_async());
    moves(Context::new_async());
}
