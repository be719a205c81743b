//! `cargo xtask portability`: the kernels through every compiler and driver that a machine without a GPU can have.

mod cases;
mod install;
mod programs;
mod report;
mod targets;
mod translate;
mod worker;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deeploss::{LOSSES, LossInfo};
use deeploss_wgsl::calls::{loss_named, named};

use programs::{LEVELS, Level};
use report::Column;
use targets::{Place, Run, TARGETS, Target};

const USAGE: &str = "usage: cargo xtask portability [--install] [--only TARGET,..] [--loss LOSS,..] [--programs LEVEL] [--every N]
                                     [--limit S] [--csv FILE] [--write]
       cargo xtask portability --ci

  --install         first fetch what is missing and Debian, npm and PyPI have: by apt-get as root, and into target/portability
  --only TARGET,..  these targets; one that is not here is a failure then
  --loss LOSS,..    programs of these losses, and the sums that follow them
  --programs LEVEL  sample (default): the fewest in which every loss meets each of its files and constants; entries: every
                    entry point of every module; all
  --every N         every Nth program and case, on targets that execute (default 1: all)
  --limit S         seconds that a program may take (default 120)
  --csv FILE        a line for every program and case on every target: what became of it, in how many CPU seconds
  --write           put the matrix into shaders/PORTABILITY.md, for all losses; it says which targets were left out
  --ci              within five minutes on two cores: --install and --only those that are quickly fetched and quick

targets:";

/// What --ci takes.
const CI: &[&str] = &["gl", "tint", "dxc"];

#[derive(Debug)]
struct Arguments {
    install: bool,
    only: Vec<&'static str>,
    losses: Vec<&'static LossInfo>,
    level: Level,
    /// Of programs and cases every so many, on targets that execute.
    step: usize,
    limit: Duration,
    csv: Option<PathBuf>,
    write: bool,
}

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if given.first().is_some_and(|first| first == "--serve") {
        return match targets::serve(&given[1..]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                eprintln!("{message}");
                ExitCode::FAILURE
            }
        };
    }
    let outcome = Arguments::parse(given.into_iter()).and_then(|arguments| match arguments {
        None => {
            println!("{}", usage());
            Ok(true)
        }
        Some(arguments) => run(&arguments),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("portability: {message}");
            ExitCode::from(2)
        }
    }
}

fn usage() -> String {
    let targets = TARGETS.iter().map(|target| format!("\n  {:12} {}", target.name(), target.about()));
    format!("{USAGE}{}", targets.collect::<String>())
}

impl Arguments {
    /// `None` where help is asked for.
    fn parse(mut given: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut parsed = Self {
            install: false,
            only: Vec::new(),
            losses: LOSSES.iter().collect(),
            level: Level::Sample,
            step: 1,
            limit: Duration::from_secs(120),
            csv: None,
            write: false,
        };
        while let Some(argument) = given.next() {
            let mut value = || given.next().ok_or(format!("{argument} takes a value\n\n{}", usage()));
            match argument.as_str() {
                "--install" => parsed.install = true,
                "--only" => {
                    let all: Vec<(&str, &'static str)> =
                        TARGETS.iter().map(|target| (target.name(), target.name())).collect();
                    parsed.only =
                        value()?.split(',').map(|name| named("--only", &all, name)).collect::<Result<_, _>>()?;
                }
                "--loss" => parsed.losses = value()?.split(',').map(loss_named).collect::<Result<_, _>>()?,
                "--programs" => parsed.level = named("--programs", LEVELS, &value()?)?,
                "--every" => {
                    let number = value()?;
                    let step = number.parse().ok().filter(|&step| step > 0);
                    parsed.step = step.ok_or(format!("--every: expected a number from 1 on, got {number}"))?;
                }
                "--limit" => {
                    let seconds = value()?;
                    let limit = seconds.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                    parsed.limit = limit.ok_or(format!("--limit: expected seconds, got {seconds}"))?;
                }
                "--write" => parsed.write = true,
                "--ci" => {
                    (parsed.install, parsed.only, parsed.step, parsed.limit) =
                        (true, CI.to_vec(), 12, Duration::from_secs(300));
                }
                "--csv" => parsed.csv = Some(value()?.into()),
                "-h" | "--help" => return Ok(None),
                _ => return Err(format!("unknown argument {argument}\n\n{}", usage())),
            }
        }
        if parsed.write && parsed.losses.len() != LOSSES.len() {
            return Err("--write takes every loss: leave out --loss".into());
        }
        Ok(Some(parsed))
    }
}

/// Whether everything that was tried was accepted, and everything that was asked for was tried.
fn run(arguments: &Arguments) -> Result<bool, String> {
    let place = Place(root().join("target/portability"));
    let asked = |target: &&&dyn Target| arguments.only.is_empty() || arguments.only.contains(&target.name());
    let targets: Vec<&dyn Target> = TARGETS.iter().filter(asked).copied().collect();
    if arguments.install {
        install::install(&place, &targets)?;
    }
    let programs = programs::collect(&arguments.losses, arguments.level)?;
    let cases = cases::collect()?;
    println!("{} programs to choose from, {} cases\n", programs.len(), cases.len());
    let run = Run {
        place: &place,
        losses: &arguments.losses,
        programs: &programs,
        level: arguments.level,
        cases: &cases,
        step: arguments.step,
        limit: arguments.limit,
    };
    // As many side by side as there are cores; what each takes is counted in CPU seconds.
    let queue = Mutex::new(targets.iter().enumerate());
    let columns = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(targets.len()) {
            scope.spawn(|| {
                loop {
                    // In a statement of its own: the lock would be held as long as the loop's condition.
                    let next = lock(&queue).next();
                    let Some((number, target)) = next else { break };
                    let column = target.column(&run);
                    print!("{}", column.summary());
                    lock(&columns).push((number, column));
                }
            });
        }
    });
    let mut columns = columns.into_inner().unwrap_or_else(PoisonError::into_inner);
    columns.sort_by_key(|(number, _)| *number);
    let columns: Vec<Column> = columns.into_iter().map(|(_, column)| column).collect();
    println!("\n{}", report::text(&columns));
    if let Some(path) = &arguments.csv {
        std::fs::write(path, report::csv(&columns)).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    if arguments.write {
        let path = root().join("shaders/PORTABILITY.md");
        let left_out: Vec<&str> = TARGETS.iter().filter(|target| !asked(target)).map(|target| target.name()).collect();
        let mut extent = format!("As of {}.", today());
        if arguments.step > 1 {
            extent +=
                &format!(" Targets that execute took one in {} of their programs and of the cases.", arguments.step);
        }
        if !left_out.is_empty() {
            extent += &format!(" Left out: {}.", left_out.join(", "));
        }
        report::write(&path, &columns, &extent).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let (here, missing): (Vec<&Column>, Vec<&Column>) = columns.iter().partition(|column| column.is_here());
    let asked_for = !arguments.only.is_empty();
    missing
        .iter()
        .for_each(|column| println!("{} is not here{}", column.name, if asked_for { ": a failure" } else { "" }));
    Ok(!here.is_empty() && here.iter().all(|column| column.is_fine()) && (missing.is_empty() || !asked_for))
}

/// `2026-11-27`, by the system's own program: the standard library knows no calendar.
fn today() -> String {
    let output = Command::new("date").arg("+%F").output();
    output.map_or_else(|_| "an unknown day".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The checkout.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
