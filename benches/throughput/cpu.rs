//! The CPU path on host arrays, as a user calls it: every call allocates what it returns.

use deeploss::internals::{OwnedTarget, OwnedTensors};
use deeploss::{Context, Evaluate, LossInfo, Output};
use rayon::prelude::*;

use crate::args::Args;
use crate::check::same_values;
use crate::choice::{MODES, want};
use crate::inputs::{draw, first_variant};
use crate::outcome::Outcome;
use crate::report::{Block, Report, Row};
use crate::shapes::ON_CPU;
use crate::storage::Storage;
use crate::timing::{Pace, Subject, time_in_turn, wall};

/// Of the element-wise losses, which read any shape alike: 4 M elements.
const ITEMS: [usize; 2] = [4096, 1024];
const ELEMENT_WISE: &str = "binary_cross_entropy_with_logits";

pub(crate) fn run(args: &Args, report: &mut Report) -> Outcome<()> {
    let ctx = Context::cpu();
    let threads = rayon::current_num_threads();
    println!("device    {}", ctx.describe());
    println!("copy      from one array to another of the same size, by {threads} threads");
    println!("time      wall clock of one call on host arrays, outputs allocated by the call");
    if args.storages != [Storage::F32] {
        return Err("the CPU path computes from f32 arrays".into());
    }
    if args.losses.is_empty() {
        for &shape in args.shapes_or(&ON_CPU) {
            for info in args.losses_or(&["cross_entropy"]) {
                report.add(measure(&ctx, info, shape, args.repeat)?)?;
            }
        }
        for info in args.losses_or(&[ELEMENT_WISE]) {
            report.add(measure(&ctx, info, ITEMS, args.repeat)?)?;
        }
        return Ok(());
    }
    for &shape in args.shapes_or(&ON_CPU) {
        for info in &args.losses {
            report.add(measure(&ctx, info, shape, args.repeat)?)?;
        }
    }
    Ok(())
}

fn measure(ctx: &Context, info: &'static LossInfo, shape: [usize; 2], repeat: usize) -> Outcome<Block> {
    let loss = first_variant(info, shape[1])?;
    let host = draw(loss.as_ref(), shape);
    let exact = loss.reference(&host.to_f64().view().wants(want("both")))?;
    let mut subjects = Vec::new();
    for mode in MODES {
        let got = loss.evaluate(ctx, &host.view().wants(want(mode)))?;
        check(&got, &exact).map_err(|e| format!("{mode} of {} {shape:?}: {e}", info.name))?;
        let mut row = Row::new("deeploss", mode, "f32", least_bytes(&host, &got));
        row.tensor_bytes = row.bytes;
        let (loss, host) = (&loss, &host);
        subjects.push(Subject::new(row, move || wall(|| Ok(loss.evaluate(ctx, &host.view().wants(want(mode)))?))));
    }
    drop(exact);
    let source: Vec<f32> = host.input.iter().copied().collect();
    let destination = std::cell::RefCell::new(vec![0.0_f32; source.len()]);
    let row = Row::new("memcpy", "all_threads", "f32", 8 * source.len() as u64).baseline();
    let copying = move || copy(&source, &mut destination.borrow_mut());
    subjects.push(Subject::new(row, move || {
        wall(|| {
            copying();
            Ok(())
        })
    }));
    let (rows, rounds) = time_in_turn(subjects, Pace::new(repeat, true))?;
    Ok(Block { op: info.name.into(), shape, rounds, unit: "copy", notes: Vec::new(), rows })
}

fn copy(source: &[f32], destination: &mut [f32]) {
    let chunk = source.len().div_ceil(rayon::current_num_threads()).max(1);
    destination.par_chunks_mut(chunk).zip(source.par_chunks(chunk)).for_each(|(to, from)| to.copy_from_slice(from));
}

/// Every tensor once.
fn least_bytes(host: &OwnedTensors, output: &Output) -> u64 {
    let target = match &host.target {
        OwnedTarget::Indices(labels) => 8 * labels.len(),
        OwnedTarget::Values(values) => 4 * values.len(),
    };
    let given = host.input.len() + host.input2.as_ref().map_or(0, |values| values.len());
    let made = [&output.loss, &output.grad_input].into_iter().flatten().map(|values| values.len()).sum::<usize>();
    (target + 4 * (given + made)) as u64
}

/// Whatever was wanted is what f64 says.
fn check(got: &Output, exact: &Output<f64>) -> Result<(), String> {
    for (name, got, exact) in [("loss", &got.loss, &exact.loss), ("gradient", &got.grad_input, &exact.grad_input)] {
        let (Some(got), Some(exact)) = (got, exact) else { continue };
        let got: Vec<f32> = got.iter().copied().collect();
        let exact: Vec<f32> = exact.iter().map(|&v| v as f32).collect();
        same_values(&got, &exact, |largest| Storage::F32.tolerance(largest)).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}
