//! The compilers and drivers. Each is a process of its own that answers line by line; see worker.rs.

mod browser;
mod clock;
mod dx;
mod msl;
mod tint;
mod wgpu;
mod wine;

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use deeploss::LossInfo;
use serde_json::{Value, json};

use crate::cases::Case;
use crate::install::Piece;
use crate::programs::{self, Abilities, Level, Program};
use crate::report::{Column, Kind};
use crate::translate::Translator;
use crate::worker::{Answer, Worker, line};

/// What stands in for a device or a part of its driver.
pub(crate) trait Target: Sync {
    /// By which it is asked for.
    fn name(&self) -> &'static str;

    /// What it stands for.
    fn about(&self) -> &'static str;

    /// The CPU seconds that no program should exceed.
    fn goal(&self) -> Option<f64> {
        None
    }

    /// What `--install` fetches for it.
    fn pieces(&self) -> &'static [Piece];

    /// What it makes of the programs and cases.
    fn column(&self, run: &Run<'_>) -> Column;
}

/// What all targets are given.
pub(crate) struct Run<'r> {
    pub(crate) place: &'r Place,
    pub(crate) losses: &'r [&'static LossInfo],
    /// What each target takes its own from, by the level.
    pub(crate) programs: &'r [Program],
    pub(crate) level: Level,
    pub(crate) cases: &'r [Case],
    /// Of programs and cases every so many, where the target executes.
    pub(crate) step: usize,
    /// The longest that a program or case may take.
    pub(crate) limit: Duration,
}

/// All of them, those that execute first.
pub(crate) const TARGETS: &[&dyn Target] = &[
    &wgpu::LAVAPIPE,
    &wgpu::LAVAPIPE_25,
    &wgpu::SWIFTSHADER,
    &wgpu::GL,
    &wgpu::DX12,
    &browser::CHROMIUM,
    &tint::Tint,
    &msl::Msl,
    &dx::Dxc,
    &dx::Fxc,
];

/// A target that is a process which takes a program a line.
trait Compiler: Target {
    /// Whether it runs cases too.
    const EXECUTES: bool = false;

    /// What of it this machine has; why it cannot be used where something is missing.
    fn find(&self, place: &Place) -> Result<Found, String>;

    /// The line that asks for a program; an error where naga refuses it already.
    fn request(&self, place: &Place, translator: &mut Translator, program: &Program) -> Result<String, String>;

    /// Gives it all programs that it can have, and all cases if it runs them.
    fn feed(&self, run: &Run<'_>) -> Column
    where
        Self: Sized,
    {
        let started = self.find(run.place).and_then(|found| {
            let log = run.place.folder("logs")?.join(format!("{}.log", self.name()));
            Ok((found.version, found.abilities, Worker::start(found.command, run.limit, log)?))
        });
        let (version, abilities, mut worker) = match started {
            Ok(started) => started,
            Err(why) => return Column::missing(self, why),
        };
        let abilities = abilities.greeted(&worker.greeting);
        let said = worker.greeting["version"].as_str().unwrap_or_default();
        let version = if version.is_empty() { said.to_owned() } else { version };
        let mut column = Column::new(self, version);
        let mut translator = Translator::default();
        let broken = programs::broken();
        match self.request(run.place, &mut translator, &broken).map(|request| worker.ask(&request)) {
            Ok(Answer { fault: Some(_), .. }) => {}
            Ok(_) => column.add(
                Kind::Program,
                programs::SUMS,
                broken.describe(),
                Answer::refused("is accepted, though broken"),
            ),
            Err(fault) => column.add(Kind::Program, programs::SUMS, broken.describe(), Answer::refused(&fault)),
        }
        let every = if Self::EXECUTES { run.step } else { 1 };
        for program in programs::choose(run.programs, run.level, &abilities).into_iter().step_by(every) {
            let answer = match self.request(run.place, &mut translator, program) {
                Ok(request) => worker.ask(&request),
                Err(fault) => Answer::refused(&fault),
            };
            column.add(Kind::Program, program.loss, program.describe(), answer);
        }
        let asked = |loss: &str| Self::EXECUTES && run.losses.iter().any(|info| info.name == loss);
        let cases = run.cases.iter().enumerate().filter(|(_, case)| asked(case.loss));
        for (number, case) in cases.step_by(every) {
            column.add(Kind::Case, case.loss, case.what.clone(), worker.ask(&format!("case {number}")));
        }
        column
    }
}

/// A target on this machine.
struct Found {
    /// Empty where the process says it better.
    version: String,
    abilities: Abilities,
    command: Box<dyn Fn() -> Command + Send>,
}

impl Found {
    fn new(version: &str, abilities: Abilities, command: impl Fn() -> Command + Send + 'static) -> Self {
        Self { version: version.to_owned(), abilities, command: Box::new(command) }
    }
}

impl Abilities {
    /// With what a process says of itself.
    fn greeted(self, greeting: &Value) -> Self {
        let flag = |name: &str, known| greeting[name].as_bool().unwrap_or(known);
        let number = |name: &str, known| greeting[name].as_u64().map_or(known, |number| number as u32);
        Self {
            subgroups: flag("subgroups", self.subgroups),
            int64: flag("int64", self.int64),
            invocations: number("invocations", self.invocations),
            storage_buffers: number("storage_buffers", self.storage_buffers),
        }
    }
}

/// Where `--install` puts things and the targets look for them: target/portability.
pub(crate) struct Place(pub(crate) PathBuf);

/// What to do about a missing file or program.
const INSTALL: &str = "`cargo xtask portability --install` fetches it";

impl Place {
    /// A folder in it, made if need be.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, String> {
        let folder = self.0.join(name);
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(folder)
    }

    /// A file that `--install` has put there.
    pub(crate) fn file(&self, name: &str) -> Result<PathBuf, String> {
        let file = self.0.join(name);
        if file.exists() { Ok(file) } else { Err(format!("{} is not here; {INSTALL}", file.display())) }
    }

    /// A program of the system.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf, String> {
        let path = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
        found.ok_or_else(|| format!("the program {name} is not here; {INSTALL}"))
    }
}

/// A program's entry point, constants and bindings, for a pipeline of WebGPU.
fn pipeline_json(program: &Program) -> Value {
    let constants: serde_json::Map<_, _> =
        program.constants.iter().map(|&(name, value)| (name.to_owned(), json!(value))).collect();
    let bindings: Vec<Value> = program
        .bindings
        .iter()
        .map(|binding| json!({ "slot": binding.slot, "written": binding.written, "stride": binding.stride }))
        .collect();
    json!({
        "entry": program.entry,
        "constants": constants,
        "bindings": bindings,
        "uniform_bytes": program.uniform_bytes,
    })
}

fn is_file(path: &str) -> Result<(), String> {
    if Path::new(path).exists() { Ok(()) } else { Err(format!("{path} is not here; {INSTALL}")) }
}

/// A C program of ours, by its name and text, compiled.
fn compiled(place: &Place, source: (&str, &str), compiler: &str, to: &Path, further: &[&str]) -> Result<(), String> {
    let (compiler, file) = (place.program(compiler)?, place.folder("build")?.join(source.0));
    write(&file, source.1)?;
    let output = Command::new(compiler).args(["-O1", "-o"]).arg(to).arg(&file).args(further).output();
    let output = output.map_err(|e| format!("{}: {e}", source.0))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))
}

/// This program as the process of a target.
pub(crate) fn serve(arguments: &[String]) -> Result<(), String> {
    match arguments {
        [which] if which == "wgpu" => wgpu::serve(),
        [which, clang, headers] if which == "msl" => msl::serve(clang, headers),
        _ => Err(format!("--serve {}: not meant for people", arguments.join(" "))),
    }
}

fn say(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|e| e.to_string())
}

fn answer_to(outcome: Result<(), String>, seconds: f64) -> Result<(), String> {
    say(&line(&Answer { seconds, fault: outcome.err() }))
}
