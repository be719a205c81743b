//! Throughput of every loss of the table beside copy kernels that move the same logits: `cargo bench --bench throughput`.
//!
//! Absolute times of shared machines mean little, so each loss is timed in turn with the copies, in one process, and told as
//! a multiple of the best copy. Nothing is timed before its result has been checked.

// Each uses only what stands before it.
mod outcome;

mod choice;
mod rounds;
mod storage;

mod report;
mod shapes;

mod args;
mod check;
mod clock;
mod plot;

mod inputs;
mod timing;

mod resident;

mod kernels;

mod case;

mod cpu;
mod overhead;
mod sweep;

mod goal;
mod predictions;

mod on_cpu_adapter;
mod on_gpu;
mod peers;

mod goals;

use std::process::ExitCode;
use std::time::Duration;

use args::{Args, HELP, What};
use case::Question;
use choice::MODES;
use deeploss::Context;
use outcome::Outcome;
use report::Report;
use storage::Storage;
use timing::Bench;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("error: {message} (`--help` lists the options)");
            return ExitCode::from(2);
        }
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Outcome<()> {
    let mut report = Report::new(args.layout, args.csv.as_deref())?;
    if args.on_cpu {
        cpu::run(args, &mut report)?;
        report.finish();
        return Ok(());
    }
    let mut bench = Bench::new(Context::new()?, args.repeat, args.calls)?;
    if args.what == What::Goals {
        // Verdicts hang on the second digit, for which a GPU needs less time, and has more to measure.
        bench.pace.time = Duration::from_millis(if bench.on_cpu { 4000 } else { 700 });
    }
    if args.profile && !bench.has_clock() {
        return Err("`--profile` needs the device's own clock: this adapter has no timestamps (TIMESTAMP_QUERY)".into());
    }
    print_header(&bench);
    match args.what {
        What::Losses => losses(&bench, args, &mut report)?,
        What::Goals => return goals::run(&bench, args, &mut report),
        What::SweepClasses => sweep::over_classes(&bench, args, &mut report)?,
        What::SweepRows => sweep::over_rows(&bench, args, &mut report)?,
        What::Overhead => overhead::run(&bench, &mut report)?,
    }
    report.finish();
    Ok(())
}

fn losses(bench: &Bench, args: &Args, report: &mut Report) -> Outcome<()> {
    let ways = args.ways();
    let defaults = default_shapes(bench, args);
    for &shape in args.shapes_or(&defaults) {
        for info in args.losses_or(&[]) {
            let question = Question { info, shape, ways: &ways, modes: &MODES, rivals: true, profile: args.profile };
            report.add(question.measure(bench)?)?;
        }
    }
    if args.losses.is_empty() { overhead::run(bench, report) } else { Ok(()) }
}

fn default_shapes(bench: &Bench, args: &Args) -> Vec<[usize; 2]> {
    if bench.on_cpu {
        return if args.losses.is_empty() { shapes::FEWER_ROWS } else { shapes::ON_CPU }.into();
    }
    // The widest storage fills the bytes: storages are compared on the same elements.
    let widest = args.storages.iter().copied().max_by_key(|storage| storage.size()).unwrap_or(Storage::F32);
    let bytes = bench.logit_bytes(args.mib, 0);
    shapes::classes(widest).iter().map(|&classes| shapes::filling(bytes, widest, classes)).collect()
}

fn print_header(bench: &Bench) {
    if let Some(facts) = bench.ctx.facts() {
        println!("adapter   {}", facts.name);
        println!("backend   {}{}", facts.backend, if facts.is_cpu { ", on the CPU" } else { "" });
        println!("subgroup  {:?}, f16 {}", facts.subgroup, facts.f16);
        println!("binding   {} bytes at most", facts.max_binding);
    }
    println!("features  {:?}", bench.device.features());
    let clock =
        if bench.has_clock() { "timestamps of the device around" } else { "wall clock of recording and running" };
    println!("time      {clock} {} call(s), divided by their number", bench.calls);
}
