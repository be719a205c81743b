//! `--install`: what Debian, npm and PyPI have of the targets. System packages come by apt-get, as root; everything else lies in
//! target/portability and goes with it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::targets::{Place, Target};

/// Something to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A package of the distribution.
    Debian(&'static str),
    /// Dawn's binding for Node.js, and the compilers for Windows that lie beside it.
    NpmWebgpu,
    /// DXC's build for Linux: in a Python package, of which nothing else is used.
    PypiCompushady,
    /// A newer Mesa, unpacked beside the system's.
    Mesa25,
    /// This program, built for Windows.
    Windows,
}

const WINDOWS: &str = "x86_64-pc-windows-gnu";
/// Where it lies below the place.
pub(crate) const WINDOWS_PROGRAM: &str = "windows/x86_64-pc-windows-gnu/debug/deeploss-portability.exe";
const WEBGPU: &str = "webgpu@0.6.2";
const COMPUSHADY: &str = "compushady==0.17.5";
/// Backports are on no default list.
const BACKPORTS: &str = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] \
                         http://deb.debian.org/debian bookworm-backports main\n";

/// Says what is missing of the targets, then fetches it.
pub(crate) fn install(place: &Place, targets: &[&dyn Target]) -> Result<(), String> {
    let mut pieces = Vec::new();
    for piece in targets.iter().flat_map(|target| target.pieces()) {
        if !pieces.contains(piece) && !piece.is_here(place) {
            pieces.push(*piece);
        }
    }
    let debian: Vec<&str> = pieces.iter().filter_map(|piece| piece.debian()).collect();
    let others: Vec<Piece> = pieces.iter().copied().filter(|piece| piece.debian().is_none()).collect();
    if pieces.is_empty() {
        println!("everything is here");
        return Ok(());
    }
    println!("installing into {}: {others:?}; by apt-get: {debian:?}", place.0.display());
    if !debian.is_empty() {
        apt(&["update"])?;
        apt(&[&["install", "-y", "--no-install-recommends"], &debian[..]].concat())?;
    }
    others.iter().try_for_each(|piece| piece.fetch(place))
}

impl Piece {
    fn debian(self) -> Option<&'static str> {
        if let Self::Debian(package) = self { Some(package) } else { None }
    }

    fn is_here(self, place: &Place) -> bool {
        let exists = |file: &str| place.0.join(file).exists();
        match self {
            Self::Debian(package) => {
                let mut query = Command::new("dpkg-query");
                query.args(["-W", "-f", "${db:Status-Status}", package]).stderr(Stdio::null());
                query.output().is_ok_and(|output| output.stdout == b"installed")
            }
            Self::NpmWebgpu => exists("npm/node_modules/webgpu/package.json"),
            Self::PypiCompushady => exists("compushady/compushady/backends"),
            Self::Mesa25 => exists("mesa/lvp_icd.json"),
            // Never: what was built before may be of other shaders.
            Self::Windows => false,
        }
    }

    fn fetch(self, place: &Place) -> Result<(), String> {
        match self {
            Self::Debian(package) => apt(&["install", "-y", "--no-install-recommends", package]),
            Self::NpmWebgpu => {
                let folder = place.folder("npm")?;
                run(Command::new("npm")
                    .args(["install", "--no-audit", "--no-fund", "--prefix"])
                    .arg(folder)
                    .arg(WEBGPU))
            }
            Self::PypiCompushady => {
                let folder = place.folder("compushady")?;
                run(Command::new("python3")
                    .args(["-m", "pip", "download", "--no-deps", "--no-binary", ":all:", COMPUSHADY, "--dest"])
                    .arg(&folder))?;
                let archive = folder.join(format!("{}.tar.gz", COMPUSHADY.replace("==", "-")));
                run(Command::new("tar").args(["xz", "--strip-components=1", "-f"]).arg(archive).arg("-C").arg(folder))
            }
            Self::Mesa25 => mesa(&place.folder("mesa")?),
            Self::Windows => {
                run(Command::new("rustup").args(["target", "add", WINDOWS]))?;
                run(Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
                    .args(["build", "--package", env!("CARGO_PKG_NAME"), "--target", WINDOWS, "--target-dir"])
                    .arg(place.folder("windows")?)
                    .current_dir(crate::root()))
            }
        }
    }
}

/// Backports' package of the drivers, unpacked, with a manifest that names the driver where it lies.
fn mesa(folder: &Path) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
    let [lists, cache] = ["lists", "cache"].map(|name| folder.join(name));
    let list = folder.join("sources.list");
    fs::write(&list, BACKPORTS).map_err(failed)?;
    fs::create_dir_all(lists.join("partial")).map_err(failed)?;
    fs::create_dir_all(cache.join("archives/partial")).map_err(failed)?;
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        let option = |name: &str, value: &Path| format!("{name}={}", value.display());
        command.args(["-q", "-o", &option("Dir::Etc::sourcelist", &list), "-o", "Dir::Etc::sourceparts=/dev/null"]);
        command.args(["-o", &option("Dir::State::lists", &lists), "-o", &option("Dir::Cache", &cache)]);
        run(command.args(arguments).current_dir(folder))
    };
    apt(&["update"])?;
    apt(&["download", "mesa-vulkan-drivers"])?;
    let is_package = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    let package = folder.read_dir().map_err(failed)?.flatten().map(|entry| entry.path()).find(is_package);
    let package = package.ok_or("apt-get downloaded no package")?;
    run(Command::new("dpkg").arg("-x").arg(package).arg(folder.join("root")))?;
    let library = folder.join("root/usr/lib/x86_64-linux-gnu/libvulkan_lvp.so");
    let library = library.canonicalize().map_err(|e| format!("{}: {e}", library.display()))?;
    let manifest = serde_json::json!({
        "file_format_version": "1.0.0",
        "ICD": { "api_version": "1.4.305", "library_path": library },
    });
    fs::write(folder.join("lvp_icd.json"), manifest.to_string()).map_err(failed)
}

fn apt(arguments: &[&str]) -> Result<(), String> {
    run(Command::new("apt-get").arg("-q").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// What it prints goes where this program's errors go: the standard output is the matrix.
fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let status = command.stdout(std::io::stderr()).status().map_err(|e| format!("{shown}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown} failed ({status})")) }
}
