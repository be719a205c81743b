//! The static folder: the wasm and what binds it, the chapters, and the files of examples/web.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use wasm_bindgen_cli_support::Bindgen;

use crate::{Result, cargo, chapters, ran, root};

const TARGET: &str = "wasm32-unknown-unknown";

/// What may go over the wire, compressed.
const MOST: usize = 2 << 20;

/// The folder of everything that this program makes.
pub(crate) fn home() -> PathBuf {
    root().join("target/web")
}

/// Builds the page, and says what it weighs.
pub(crate) fn build(out: &Path) -> Result<()> {
    ensure_target()?;
    let wasm = compile(&[])?;
    fresh(out)?;
    bind(&wasm, out)?;
    let source = root().join("examples/web");
    for file in files(&source)? {
        let known = ["css", "html", "js", "svg", "json"].iter().any(|&ext| file.extension() == Some(OsStr::new(ext)));
        if known && let Some(name) = file.file_name() {
            fs::copy(&file, out.join(name)).map_err(|e| format!("{}: {e}", file.display()))?;
        }
    }
    let index = out.join("index.html");
    let page = chapters::insert(&read(&index)?, &root().join("src/guide"))?;
    fs::write(&index, page).map_err(|e| format!("{}: {e}", index.display()))?;
    weigh(out)
}

/// The Rust target for browsers, by rustup where it is missing.
fn ensure_target() -> Result<()> {
    let installed = Command::new("rustup").args(["target", "list", "--installed"]).output();
    match installed {
        Ok(output) if String::from_utf8_lossy(&output.stdout).lines().any(|line| line == TARGET) => Ok(()),
        Ok(_) => ran(Command::new("rustup").args(["target", "add", TARGET]))
            .map_err(|e| format!("{e}; `rustup target add {TARGET}` installs what a browser's wasm is compiled with")),
        // Without rustup the compiler has the target or says that it has not.
        Err(_) => Ok(()),
    }
}

/// Compiles examples/web with more arguments of cargo's, and gives the place of the wasm.
pub(crate) fn compile(more: &[&str]) -> Result<PathBuf> {
    let arguments = ["build", "--quiet", "--package", "deeploss-web", "--lib", "--target", TARGET, "--profile", "web"];
    ran(cargo().args(arguments).args(more)).map_err(|e| {
        format!("{e}; if the standard library is what it lacks, install the target {TARGET} of your Rust toolchain")
    })?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join(TARGET).join("web/deeploss_web.wasm"))
}

/// The JavaScript module that loads the wasm, beside it.
pub(crate) fn bind(wasm: &Path, out: &Path) -> Result<()> {
    let mut bindgen = Bindgen::new();
    let bindgen = bindgen.input_path(wasm).typescript(false).omit_default_module_path(false);
    let bindgen = bindgen.remove_name_section(true).remove_producers_section(true);
    let bound = bindgen.web(true).and_then(|bindgen| bindgen.generate(out));
    bound.map_err(|e| format!("wasm-bindgen: {e:?}"))
}

/// An empty folder, which must not be anything else of the caller's.
pub(crate) fn fresh(out: &Path) -> Result<()> {
    let marker = out.join("deeploss_web.js");
    if out.exists() && !marker.exists() && files(out).is_ok_and(|files| !files.is_empty()) {
        return Err(format!("{}: holds something else; choose an empty folder", out.display()));
    }
    if out.exists() {
        fs::remove_dir_all(out).map_err(|e| format!("{}: {e}", out.display()))?;
    }
    fs::create_dir_all(out).map_err(|e| format!("{}: {e}", out.display()))
}

/// Prints the weight of each file, and fails beyond [`MOST`].
fn weigh(out: &Path) -> Result<()> {
    let (mut plain, mut packed) = (0, 0);
    println!("{:>10} {:>10}  {}", "bytes", "gzip", out.display());
    for file in files(out)? {
        let bytes = fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let small = gzip(&bytes).len();
        let name = file.file_name().unwrap_or_default().display();
        println!("{:>10} {small:>10}  {name}", bytes.len());
        (plain, packed) = (plain + bytes.len(), packed + small);
    }
    println!("{plain:>10} {packed:>10}  together");
    if packed > MOST { Err(format!("{packed} bytes over the wire, at most {MOST} were meant")) } else { Ok(()) }
}

/// The files of a folder by name, without those of its folders.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut files: Vec<_> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

pub(crate) fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // A vector takes whatever is written to it.
    encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default()
}
