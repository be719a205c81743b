//! `cargo xtask isa`: what AMD's compiler makes of every kernel that a discrete GPU would get.
//!
//! Mesa's RADV driver has a null device: it compiles for a GPU that is not in the machine, and tells registers, spills, workgroup
//! memory, occupancy and the final instructions. Nothing is executed. The driver reads which GPU to compile for when it starts,
//! so each family is a process of its own.

mod assembly;
mod cases;
mod family;
mod radv;
mod report;
mod spirv;

use std::collections::HashSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use cases::Case;
use family::{FAMILIES, Family};
use report::Row;
use spirv::{CHECKS, Checks};

const USAGE: &str = "usage: cargo xtask isa [--family NAME,..] [--only LOSS,..] [--csv FILE] [--asm] [--write]

  --family NAME,..  GPU families, as Mesa calls them (default: all of family.rs)
  --only LOSS,..    kernels whose label starts with one of these, for example cross_entropy or reduce
  --csv FILE        the full table as a file too
  --asm             the assembly of every kernel, on the error output
  --write           put the condensed table into shaders/REGISTERS.md";

/// Set for the process that compiles for one family.
const RADV_FAMILY: &str = "RADV_FORCE_FAMILY";

#[derive(Default)]
struct Arguments {
    families: Vec<String>,
    only: Vec<String>,
    csv: Option<PathBuf>,
    asm: bool,
    write: bool,
    /// Print rows for this program to read: the process of one family.
    rows: bool,
}

fn main() -> ExitCode {
    let outcome = Arguments::parse(env::args().skip(1)).and_then(|arguments| match arguments {
        None => {
            println!("{USAGE}");
            Ok(true)
        }
        Some(arguments) if arguments.rows => compile_family(&arguments).map(|()| true),
        Some(arguments) => report_families(&arguments),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("isa: {message}");
            ExitCode::from(2)
        }
    }
}

impl Arguments {
    /// `None` where help is asked for.
    fn parse(mut given: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut parsed = Self::default();
        while let Some(argument) = given.next() {
            let mut value = || given.next().ok_or(format!("{argument} takes a value\n\n{USAGE}"));
            let list = |text: String| text.split(',').map(str::to_owned).collect();
            match argument.as_str() {
                "--family" => parsed.families = list(value()?),
                "--only" => parsed.only = list(value()?),
                "--csv" => parsed.csv = Some(value()?.into()),
                "--asm" => parsed.asm = true,
                "--write" => parsed.write = true,
                "--rows" => parsed.rows = true,
                "-h" | "--help" => return Ok(None),
                _ => return Err(format!("unknown argument {argument}\n\n{USAGE}")),
            }
        }
        if parsed.write && !parsed.families.is_empty() {
            return Err("--write takes every family: leave out --family".into());
        }
        Ok(Some(parsed))
    }

    fn families(&self) -> Result<Vec<&'static Family>, String> {
        let known = |name: &String| FAMILIES.iter().find(|family| family.name == name);
        let unknown = |name: &String| {
            let names: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
            format!("no family {name}; there are {}", names.join(", "))
        };
        if self.families.is_empty() {
            return Ok(FAMILIES.iter().collect());
        }
        self.families.iter().map(|name| known(name).ok_or_else(|| unknown(name))).collect()
    }
}

/// Runs one process per family, prints what they found; whether nothing spills but what is known to.
fn report_families(arguments: &Arguments) -> Result<bool, String> {
    let icd = radv::manifest()?;
    let mut rows = Vec::new();
    let families = arguments.families()?;
    // The assembly of one family at a time, everything else at once.
    for group in families.chunks(if arguments.asm { 1 } else { families.len() }) {
        let children = group.iter().map(|family| start(family, arguments, &icd)).collect::<Result<Vec<_>, _>>()?;
        // Read at once: a child whose pipe is full would wait for the one before it.
        let readers: Vec<_> =
            children.into_iter().map(|child| std::thread::spawn(move || child.wait_with_output())).collect();
        for (family, reader) in group.iter().zip(readers) {
            let output = reader.join().map_err(|_| format!("{}: reading it failed", family.name))?;
            let output = output.map_err(|e| format!("{}: {e}", family.name))?;
            if !output.status.success() {
                return Err(format!("compiling for {} failed ({})", family.name, output.status));
            }
            for line in String::from_utf8_lossy(&output.stdout).lines() {
                rows.push(Row::from_line(line).ok_or_else(|| format!("{} printed: {line}", family.name))?);
            }
        }
    }
    if rows.is_empty() {
        return Err("no kernel has such a label".into());
    }
    report::sort(&mut rows);
    print!("{}", report::text(&rows));
    if let Some(path) = &arguments.csv {
        std::fs::write(path, report::csv(&rows)).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let findings = report::findings(&rows);
    println!("\n{} rows, {} findings", rows.len(), findings.len());
    findings.iter().for_each(|finding| println!("- {finding}"));
    if arguments.write {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shaders/REGISTERS.md");
        report::write(&path, &rows).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let complaints = report::complaints(&rows);
    complaints.iter().for_each(|complaint| eprintln!("isa: {complaint}"));
    Ok(complaints.is_empty())
}

fn start(family: &Family, arguments: &Arguments, icd: &Path) -> Result<std::process::Child, String> {
    let mut command = Command::new(env::current_exe().map_err(|e| e.to_string())?);
    command.args(["--rows", "--family", family.name]);
    if !arguments.only.is_empty() {
        command.args(["--only", &arguments.only.join(",")]);
    }
    if arguments.asm {
        command.arg("--asm");
    }
    command.env(RADV_FAMILY, family.name).env("VK_DRIVER_FILES", icd).env("VK_ICD_FILENAMES", icd);
    // A cache of compiled shaders keeps no statistics.
    command.env("MESA_SHADER_CACHE_DISABLE", "true");
    command.stdout(Stdio::piped()).spawn().map_err(|e| e.to_string())
}

/// Compiles every kernel for the family that the driver was told.
fn compile_family(arguments: &Arguments) -> Result<(), String> {
    let family = arguments.families()?[0];
    let cases = cases::collect(family)?;
    let device = radv::Device::new()?;
    let mut modules = spirv::Modules::default();
    let wanted = |case: &&Case| {
        arguments.only.is_empty() || arguments.only.iter().any(|only| case.name.starts_with(only.as_str()))
    };
    let mut seen = HashSet::new();
    for case in cases.iter().filter(wanted) {
        // What the checks cost hardly depends on the variant: one of each kernel and strategy goes without them too.
        let first = seen.insert((&case.name, &case.strategy));
        for checks in CHECKS.iter().filter(|checks| checks.on || first) {
            let row = compile(&device, &mut modules, case, checks, arguments.asm)
                .map_err(|e| format!("{} ({}): {e}", case.name, case.options))?;
            println!(
                "{}",
                Row { family: family.name.into(), checks: checks.name.into(), stats: row, ..case.row() }.line()
            );
        }
    }
    Ok(())
}

fn compile(
    device: &radv::Device,
    modules: &mut spirv::Modules,
    case: &Case,
    checks: &Checks,
    asm: bool,
) -> Result<report::Stats, String> {
    let spirv = modules.spirv(&case.kernel, checks, device.robust())?;
    let compiled = device.compile(&case.kernel, &spirv)?;
    if asm {
        eprintln!("; {} {} {} {}\n{}", case.name, case.strategy, case.options, checks.name, compiled.assembly);
    }
    Ok(report::Stats::new(&compiled, case.share))
}
