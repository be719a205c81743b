//! Proves what calls cost in memory: as much as their tensors and no more, and nothing that grows with the number of calls. Each is
//! measured in a process of its own.

#![cfg(target_os = "linux")]

use deeploss::{Context, CrossEntropy, Evaluate, Problem, RowStrategy, Tensors};
use half::bf16;
use ndarray::{Array1, Array2};

use crate::support::{gpu, in_its_own_process, memory};

const MB: u64 = 1_000_000;

/// The most memory that `call` takes at any time, beyond what the process has.
fn peak(call: impl FnOnce()) -> u64 {
    // Resets the largest size so far.
    std::fs::write("/proc/self/clear_refs", "5").expect("a process may reset its own counters");
    let before = memory("VmRSS");
    call();
    memory("VmHWM") - before
}

/// Logits in bf16 and their gradient, 100 MB each.
fn evaluate(ctx: &Context) -> u64 {
    let (rows, classes) = (1000, 50_257);
    let logits =
        Array2::from_shape_fn((rows, classes), |(n, c)| bf16::from_f32(((n * 31 + c * 17) % 101) as f32 / 16.0));
    let labels = Array1::from_shape_fn(rows, |n| (n * 7919 % classes) as i64);
    let loss = CrossEntropy::new();
    // Once before, for what is made once.
    let few = ndarray::s![..2, ..];
    loss.evaluate(ctx, &Tensors::new(logits.slice(few), labels.slice(ndarray::s![..2]))).expect("a valid call");
    peak(|| {
        let output = loss.evaluate(ctx, &Tensors::new(logits.view(), labels.view())).expect("a valid call");
        assert!(output.scalar().is_some_and(f32::is_finite));
    })
}

#[test]
fn a_call_on_the_cpu_takes_the_memory_of_its_result() {
    in_its_own_process("memory::of_the_cpu_path");
}

#[test]
#[ignore = "measures the memory of its process: another test runs it in one of its own"]
fn of_the_cpu_path() {
    let taken = evaluate(&Context::cpu());
    println!("{taken} bytes");
    assert!(taken <= 101 * MB * 11 / 10, "{} MB beside 100 MB of logits", taken / MB);
}

#[test]
fn a_call_on_the_gpu_takes_the_memory_of_its_tensors() {
    in_its_own_process("memory::of_the_gpu_path");
}

/// The device's memory is this process' where the GPU is a program: logits and gradient there, then the gradient there and here.
#[test]
#[ignore = "measures the memory of its process: another test runs it in one of its own"]
fn of_the_gpu_path() {
    let taken = evaluate(&gpu());
    println!("{taken} bytes");
    assert!(taken <= 2 * 101 * MB * 11 / 10, "{} MB beside 100 MB of logits", taken / MB);
}

#[test]
fn prepared_calls_leave_nothing_behind() {
    in_its_own_process("memory::of_many_prepared_calls");
}

/// A hundred thousand, none of which is ever submitted.
#[test]
#[ignore = "measures the memory of its process: another test runs it in one of its own"]
fn of_many_prepared_calls() {
    let ctx = gpu();
    let loss = CrossEntropy::new();
    let prepare = |count: usize| {
        for number in 0..count {
            let rows = 65 + number % 100;
            drop(loss.prepare_with(&ctx, &Problem::rows(rows, 8), Some(RowStrategy::Thread)).expect("a valid call"));
        }
    };
    prepare(5_000);
    let (pipelines, before) = (ctx.cached_pipelines(), memory("VmRSS"));
    prepare(95_000);
    let grown = memory("VmRSS").saturating_sub(before);
    println!("{grown} bytes, {pipelines} pipelines");
    assert!(grown < 4 * MB, "{grown} bytes more after 95 000 calls");
    assert_eq!(ctx.cached_pipelines(), pipelines, "pipelines of the same kernels");
}
