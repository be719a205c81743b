//! Throughput of every loss of the table beside copy kernels that move the same logits: `cargo bench --bench throughput`.
//!
//! Absolute times of shared machines mean little, so each loss is timed in turn with the copies, in one process, and told as
//! a multiple of the best copy. Nothing is timed before its result has been checked.

// Each uses only what stands before it.
mod outcome;

mod choice;
mod report;
mod storage;

mod args;
mod check;
mod inputs;
mod plot;
mod timing;

mod resident;

mod kernels;

mod case;

mod cpu;
mod overhead;
mod sweep;

mod goals;

use std::process::ExitCode;
use std::time::Duration;

use args::{Args, FEWER_ROWS, HELP, SHAPES, What};
use case::Question;
use choice::MODES;
use deeploss::Context;
use outcome::Outcome;
use report::Report;
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
        // Verdicts hang on the second digit.
        bench.time = Duration::from_secs(4);
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
    let few = args.losses.is_empty() && bench.ctx.facts().is_some_and(|facts| facts.is_cpu);
    for &shape in args.shapes_or(if few { &FEWER_ROWS } else { &SHAPES }) {
        for info in args.losses_or(&[]) {
            let question = Question { info, shape, ways: &ways, modes: &MODES, rivals: true };
            report.add(question.measure(bench)?)?;
        }
    }
    if args.losses.is_empty() { overhead::run(bench, report) } else { Ok(()) }
}

fn print_header(bench: &Bench) {
    if let Some(facts) = bench.ctx.facts() {
        println!("adapter   {}", facts.name);
        println!("backend   {}{}", facts.backend, if facts.is_cpu { ", on the CPU" } else { "" });
        println!("subgroup  {:?}, f16 {}", facts.subgroup, facts.f16);
        println!("binding   {} bytes at most", facts.max_binding);
    }
    println!("features  {:?}", bench.device.features());
    println!("time      wall clock from recording to the end of the wait, {} call(s) in a submit", bench.calls);
}
