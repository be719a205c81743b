//! Runs golden cases through the public API: `cargo xtask conformance [DIR] [--device gpu|cpu] [--only op,op] [--csv
//! FILE]`.

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;

use deeploss::Context;
use support::conformance::{COLUMNS, DELIBERATE, Report, load, run};

const USAGE: &str = "usage: cargo xtask conformance [DIR] [--device gpu|cpu] [--only op,op] [--csv FILE]
  DIR       folder with cases.json (default: tests/goldens)
  --device  where the losses run (default: gpu)
  --only    ops to run; without it a case of an op that is not there fails
  --csv     also write the table to this file";

struct Arguments {
    folder: PathBuf,
    cpu: bool,
    only: Option<Vec<String>>,
    csv: Option<PathBuf>,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let goldens = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens");
    let mut parsed = Arguments { folder: goldens.into(), cpu: false, only: None, csv: None };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument}: a value is missing"));
        match argument.as_str() {
            "--device" => {
                parsed.cpu = match value()?.as_str() {
                    "cpu" => true,
                    "gpu" => false,
                    other => return Err(format!("--device: expected gpu or cpu, got {other}")),
                }
            }
            "--only" => parsed.only = Some(value()?.split(',').map(|op| op.trim().to_owned()).collect()),
            "--csv" => parsed.csv = Some(value()?.into()),
            flag if flag.starts_with('-') => return Err(format!("unknown argument {flag}")),
            folder => parsed.folder = folder.into(),
        }
    }
    Ok(parsed)
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match conformance(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::from(2)
        }
    }
}

fn conformance(arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let ctx = if arguments.cpu { Context::cpu() } else { Context::new()? };
    let cases = load(&arguments.folder)?;
    println!("{} cases of {} on {}\n", cases.len(), arguments.folder.display(), ctx.describe());
    let mut report = run(&cases, &ctx, arguments.only.as_deref());
    print!("{}", report.table());
    if let Some(file) = &arguments.csv {
        std::fs::write(file, csv(&mut report)).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    println!("\ndeliberate differences from PyTorch:");
    for difference in DELIBERATE {
        println!("  {}. {}", difference.letter, difference.reason);
    }
    for (id, reason) in &report.failures {
        println!("FAILED {id}: {reason}");
    }
    println!("{}", if report.passed() { "all passed" } else { "some cases failed" });
    Ok(report.passed())
}

/// The table for machines.
fn csv(report: &mut Report) -> String {
    let header = COLUMNS.map(str::to_owned).to_vec();
    let rows = [vec![header], report.rows()].concat();
    rows.into_iter().map(|row| row.join(",") + "\n").collect()
}
