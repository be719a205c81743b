//! A folder of programs and files that judges this checkout on a machine with a GPU and without a toolchain.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Failure, cargo_command, driver, root};

const NAME: &str = "deeploss-pack";
const RUN: &str = include_str!("../pack/run.sh");
/// Files that the tests read when they run.
const FILES: &[&str] = &["README.md", "shaders", "tests/goldens"];
/// What NVIDIA's Vulkan driver loads besides itself, which a machine without a desktop may lack.
const DRIVER_LIBRARIES: &[&str] = &[
    "libX11.so.6",
    "libXext.so.6",
    "libxcb.so.1",
    "libXau.so.6",
    "libXdmcp.so.6",
    "libbsd.so.0",
    "libmd.so.0",
    "libGLdispatch.so.0",
    "libGLX.so.0",
    "libEGL.so.1",
];
/// Kind and name of a target, and what it is called in the pack.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("bench", "throughput", "throughput"),
    ("example", "conformance", "conformance"),
    ("example", "adapters", "adapters"),
    ("test", "deeploss", "tests"),
];
const MAX_BYTES: u64 = 40 << 20;

/// Builds everything and packs it into `folder`.
pub(crate) fn pack(folder: &Path) -> Result<(), Failure> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("a pack is for x86-64 Linux: build it there".to_owned().into());
    }
    let programs = build()?;
    let stage = folder.join(NAME);
    if stage.exists() {
        fs::remove_dir_all(&stage).map_err(|e| failed(&stage, &e))?;
    }
    let bin = stage.join("bin");
    make_folder(&bin)?;
    for (file, name) in programs {
        let place = bin.join(name);
        copy(&file, &place)?;
        // Symbols are most of a program, and no part of what it does.
        run(Command::new("strip").arg(&place))?;
    }
    for file in FILES {
        copy(&root().join(file), &stage.join(file))?;
    }
    make_folder(&stage.join("lib/driver"))?;
    // The files that the links lead to.
    if let Some(loader) = driver::loader() {
        copy(&loader, &stage.join("lib/libvulkan.so.1"))?;
    }
    for name in DRIVER_LIBRARIES {
        if let Some(library) = driver::library(name) {
            copy(&library, &stage.join("lib/driver").join(name))?;
        }
    }
    write(&stage.join("VERSION"), &version())?;
    write(&stage.join("run.sh"), RUN)?;
    run(Command::new("chmod").arg("755").arg(stage.join("run.sh")))?;
    let archive = folder.join(format!("{NAME}.tar.gz"));
    run(Command::new("tar").arg("-C").arg(folder).args(["--owner=0", "--group=0", "-czf"]).arg(&archive).arg(NAME))?;
    let bytes = fs::metadata(&archive).map_err(|e| failed(&archive, &e))?.len();
    println!("{}: {:.1} MiB", archive.display(), bytes as f64 / f64::from(1 << 20));
    println!("there: tar -xzf {NAME}.tar.gz && {NAME}/run.sh [OUT]");
    if bytes > MAX_BYTES {
        return Err(format!("the pack has {bytes} bytes; it is meant to stay below {MAX_BYTES}").into());
    }
    Ok(())
}

/// Builds the programs; where each is, and what it is called in the pack.
fn build() -> Result<Vec<(PathBuf, &'static str)>, Failure> {
    let mut command = cargo_command("build");
    command.args(["--release", "--message-format", "json-render-diagnostics"]);
    for (kind, name, _) in PROGRAMS {
        command.arg(format!("--{kind}")).arg(name);
    }
    let output = command.stderr(Stdio::inherit()).output().map_err(|e| format!("cannot run cargo: {e}"))?;
    if !output.status.success() {
        return Err(Failure::Status(output.status));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut found = Vec::new();
    for &(kind, target, name) in PROGRAMS {
        let file = executable(&messages, kind, target).ok_or_else(|| format!("cargo names no {kind} {target}"))?;
        found.push((file, name));
    }
    Ok(found)
}

/// The program of a target, as cargo's JSON messages name it: one message a line.
fn executable(messages: &str, kind: &str, target: &str) -> Option<PathBuf> {
    let marks = [
        r#""reason":"compiler-artifact""#.to_owned(),
        format!(r#""kind":["{kind}"]"#),
        format!(r#""name":"{target}""#),
    ];
    let message = messages.lines().find(|line| marks.iter().all(|mark| line.contains(mark)))?;
    let (_, rest) = message.split_once(r#""executable":""#)?;
    Some(rest.split_once('"')?.0.into())
}

/// What the pack was made from.
fn version() -> String {
    let git =
        Command::new("git").arg("-C").arg(root()).args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    let output = git.ok().filter(|output| output.status.success());
    let commit = output.map_or("unknown commit".into(), |output| String::from_utf8_lossy(&output.stdout).into_owned());
    format!("deeploss {}\n", commit.trim())
}

/// Copies a file, or a folder with everything in it; links are followed.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    if from.is_dir() {
        make_folder(to)?;
        for entry in fs::read_dir(from).map_err(|e| failed(from, &e))? {
            let entry = entry.map_err(|e| failed(from, &e))?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        make_folder(folder)?;
    }
    fs::copy(from, to).map_err(|e| failed(from, &e))?;
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    Ok(fs::write(file, text).map_err(|e| failed(file, &e))?)
}

fn make_folder(folder: &Path) -> Result<(), Failure> {
    Ok(fs::create_dir_all(folder).map_err(|e| failed(folder, &e))?)
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let program = command.get_program().to_owned();
    let status = command.status().map_err(|e| failed(Path::new(&program), &e))?;
    if status.success() { Ok(()) } else { Err(Failure::Status(status)) }
}

fn failed(file: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", file.display())
}

#[cfg(test)]
mod tests {
    use super::executable;

    #[test]
    fn a_program_is_found_among_the_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"deeploss"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"deeploss"},"executable":"/t/deps/deeploss-1"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages, "test", "deeploss"), Some("/t/deps/deeploss-1".into()));
        assert_eq!(executable(messages, "bench", "deeploss"), None);
        assert_eq!(executable(messages, "lib", "deeploss"), None);
    }
}
