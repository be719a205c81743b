//! Chores of this repository, as `cargo xtask COMMAND`. Each makes sure of a graphics driver first, then runs cargo.

mod driver;
mod pack;
mod validate;

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

use driver::Need;

const USAGE: &str = "usage: cargo xtask COMMAND [ARGS...]

  demo                   train a small network on handwritten digits, losses and gradients on the GPU
  test [ARGS...]         run all tests; ARGS go to `cargo test`
  test NAME [ARGS...]    run the tests with NAME in their path, for example the module parity; ARGS as above
  soak --minutes M       ask random questions for M minutes: every option against f64, plans for any shapes and limits
  validate [ARGS...]     run the tests under Vulkan's validation layer (installed on Debian), which must report nothing; ARGS as
                         those of test; all of them take an hour on two cores
  conformance [ARGS...]  compare with golden values of PyTorch; ARGS go to examples/conformance.rs
  bench [ARGS...]        measure throughput; ARGS go to benches/throughput
  wgsl ARGS...           print the WGSL modules that a call runs as, or write those of all calls; ARGS go to xtask/wgsl (--help)
  isa [ARGS...]          compile every kernel for AMD GPUs: registers, spills, occupancy; ARGS go to xtask/isa (--help)
  burn [ARGS...]         lint and test integrations/burn, with Burn's fusion and without; ARGS go to `cargo test`
  web [ARGS...]          build the page of examples/web and serve it; ARGS go to xtask/web (--help)
  portability [ARGS...]  give the kernels to every compiler and driver that stands in for a GPU's; ARGS go to xtask/portability
  pack DIR               build tests, golden cases and bench into DIR/deeploss-pack.tar.gz, whose run.sh judges this checkout on
                         an x86-64 Linux machine that has a GPU but no toolchain, within five minutes
  help                   print this

On Linux every command but wgsl, portability, web and pack first looks for a Vulkan driver. Without one, root gets Mesa's software
driver by apt-get, and everybody else the command to run; `demo` then computes on the CPU, the other commands fail. macOS and Windows
have what is needed.";

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let command = arguments.next();
    let rest: Vec<OsString> = arguments.collect();
    let result = match command.as_deref().and_then(OsStr::to_str) {
        Some("demo") if rest.is_empty() => demo(),
        Some("test") => test(&rest),
        Some("soak") => soak(&rest),
        Some("validate") => validate::validate(&rest),
        Some("conformance") => conformance(&rest),
        Some("bench") => bench(&rest),
        Some("wgsl") => wgsl(&rest),
        Some("isa") => isa(&rest),
        Some("burn") => burn(&rest),
        Some("web") => web(&rest),
        Some("portability") => portability(&rest),
        Some("pack") if rest.len() == 1 => pack::pack(Path::new(&rest[0])),
        Some("help" | "-h" | "--help") => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            match command {
                Some(command) if command == "demo" => eprintln!("xtask: demo takes no arguments\n"),
                Some(command) if command == "pack" => eprintln!("xtask: pack takes one folder\n"),
                Some(command) => eprintln!("xtask: unknown command {}\n", command.display()),
                None => {}
            }
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Status(status)) => exit_code(status),
        Err(Failure::Message(message)) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Why a chore did not succeed.
enum Failure {
    /// A command ran, failed and said why itself.
    Status(ExitStatus),
    Message(String),
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Self::Message(message.to_owned())
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Message(message)
    }
}

fn demo() -> Result<(), Failure> {
    driver::ensure_driver(Need::Wish)?;
    cargo(&["run", "--release", "--example", "digits"], &[])
}

fn test(arguments: &[OsString]) -> Result<(), Failure> {
    driver::ensure_driver(Need::Must)?;
    // A driver that finds no device looks installed; fail here rather than in every test.
    cargo(&["run", "--quiet", "--example", "adapters"], &[])?;
    // The filter of tests, which are in one program; everything else need not be built for it.
    if arguments.first().is_some_and(|first| !first.to_string_lossy().starts_with('-')) {
        return cargo(&["test", "--test", "deeploss"], arguments);
    }
    // Not --all-targets: it leaves out the doctests and runs the benches.
    cargo(&["test", "--workspace"], arguments)
}

/// Each property goes on with new seeds until the time is up, all of them side by side.
fn soak(arguments: &[OsString]) -> Result<(), Failure> {
    let minutes = match arguments {
        [option, minutes] if option == "--minutes" => minutes.to_str().and_then(|minutes| minutes.parse::<f64>().ok()),
        _ => None,
    };
    let minutes = minutes.filter(|minutes| *minutes > 0.0).ok_or("soak takes --minutes M, a number")?;
    driver::ensure_driver(Need::Must)?;
    finish(
        cargo_command("test")
            .args(["--test", "deeploss", "--", "properties::", "plans::", "--test-threads", "64", "--nocapture"])
            .env("DEEPLOSS_SOAK_SECONDS", (60.0 * minutes).to_string()),
    )
}

/// A workspace of its own, and not among the tests: Burn takes longer to build than everything else together.
fn burn(arguments: &[OsString]) -> Result<(), Failure> {
    driver::ensure_driver(Need::Must)?;
    let manifest = ["--manifest-path", "integrations/burn/Cargo.toml"];
    for features in [&[][..], &["--no-default-features"]] {
        let lint = ["--all-targets", "--", "-D", "warnings"];
        finish(cargo_command("clippy").args(manifest).args(features).args(lint))?;
        finish(cargo_command("test").args(manifest).args(features).args(arguments))?;
    }
    Ok(())
}

fn conformance(arguments: &[OsString]) -> Result<(), Failure> {
    driver_unless_on_cpu(arguments)?;
    cargo(&["run", "--release", "--example", "conformance", "--"], arguments)
}

fn bench(arguments: &[OsString]) -> Result<(), Failure> {
    driver_unless_on_cpu(arguments)?;
    cargo(&["bench", "--bench", "throughput", "--"], arguments)
}

/// No driver is needed, and the profile is that of the tests, which is built most often.
fn wgsl(arguments: &[OsString]) -> Result<(), Failure> {
    cargo(&["run", "--quiet", "--package", "deeploss-wgsl", "--"], arguments)
}

/// In a workspace of its own: what binds wasm to JavaScript is built by nobody else.
fn web(arguments: &[OsString]) -> Result<(), Failure> {
    let mut command = cargo_at("xtask/web/Cargo.toml", "run");
    finish(command.arg("--quiet").arg("--target-dir").arg(root().join("target/web/tool")).arg("--").args(arguments))
}

fn isa(arguments: &[OsString]) -> Result<(), Failure> {
    driver::ensure_driver(Need::Must)?;
    cargo(&["run", "--quiet", "--release", "--package", "deeploss-isa", "--"], arguments)
}

/// It looks for drivers itself: each is a target of its own, and here or not.
fn portability(arguments: &[OsString]) -> Result<(), Failure> {
    cargo(&["run", "--quiet", "--package", "deeploss-portability", "--"], arguments)
}

fn driver_unless_on_cpu(arguments: &[OsString]) -> Result<(), Failure> {
    if !arguments.windows(2).any(|pair| pair == ["--device", "cpu"]) {
        driver::ensure_driver(Need::Must)?;
    }
    Ok(())
}

/// Runs cargo on this workspace. The working directory stays the caller's, so that relative paths in `arguments` hold.
fn cargo(subcommand: &[&str], arguments: &[OsString]) -> Result<(), Failure> {
    finish(cargo_command(subcommand[0]).args(&subcommand[1..]).args(arguments))
}

fn finish(cargo: &mut Command) -> Result<(), Failure> {
    let status = cargo.status().map_err(|e| format!("cannot run cargo: {e}"))?;
    if status.success() { Ok(()) } else { Err(Failure::Status(status)) }
}

fn cargo_command(subcommand: &str) -> Command {
    cargo_at("Cargo.toml", subcommand)
}

/// Cargo on the workspace with this manifest.
fn cargo_at(manifest: &str, subcommand: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(subcommand).arg("--manifest-path").arg(root().join(manifest));
    if let Some(folder) = driver::runtime_folder() {
        command.env("XDG_RUNTIME_DIR", folder);
    }
    command
}

/// The checkout.
fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// The status of a command as ours. One that a signal ended has no code: 1.
fn exit_code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
