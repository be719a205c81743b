//! `cargo xtask web`: builds the page of examples/web into one static folder, and serves or tests it.

mod chapters;
mod serve;
mod site;
mod test;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "usage: cargo xtask web [--out DIR | --port N | --test [NAME..]]
  builds the page into target/web/site and serves it on localhost
  --out DIR   builds into DIR instead, and serves nothing
  --port N    serves on this port (default: 8137)
  --test      opens the page in headless Chromium, without WebGPU and with it, and touches every control; runs golden cases there; then
              opens the page in Firefox. Names choose among these four, cpu, gpu, conformance and firefox, and among the chapters or
              losses";

type Result<T> = std::result::Result<T, String>;

enum Task {
    Serve { port: u16 },
    Build { out: PathBuf },
    Test { chapters: Vec<String> },
}

fn main() -> ExitCode {
    let task = match parse(env::args().skip(1)) {
        Ok(Some(task)) => task,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("web: {message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("web: {message}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Task>> {
    let (mut task, mut port, mut chapters) = (None, None, None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--out" => task = Some(Task::Build { out: arguments.next().ok_or("--out: a folder is missing")?.into() }),
            "--port" => {
                let number = arguments.next().ok_or("--port: a number is missing")?;
                port = Some(number.parse().map_err(|_| format!("--port: expected 0 to 65535, got {number}"))?);
            }
            "--test" => chapters = Some(Vec::new()),
            "--help" | "-h" => return Ok(None),
            name => match &mut chapters {
                Some(chapters) if !name.starts_with('-') => chapters.push(name.to_owned()),
                _ => return Err(format!("unknown argument {name}")),
            },
        }
    }
    match (task, port, chapters) {
        (None, port, None) => Ok(Some(Task::Serve { port: port.unwrap_or(8137) })),
        (Some(task), None, None) => Ok(Some(task)),
        (None, None, Some(chapters)) => Ok(Some(Task::Test { chapters })),
        _ => Err("--out, --port and --test exclude each other".into()),
    }
}

fn run(task: Task) -> Result<()> {
    let out = match &task {
        Task::Build { out } => out.clone(),
        Task::Serve { .. } | Task::Test { .. } => site::home().join("site"),
    };
    site::build(&out)?;
    match task {
        Task::Build { .. } => Ok(()),
        Task::Serve { port } => {
            let server = serve::Server::new(&out, port)?;
            println!("\n{}   (Ctrl-C ends it)", server.url());
            server.run()
        }
        Task::Test { chapters } => test::test(&out, &chapters),
    }
}

/// The checkout.
fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own)
}

/// Runs a command, whose output people see.
fn ran(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|e| format!("cannot run {name}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name} failed ({status})")) }
}

fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}
