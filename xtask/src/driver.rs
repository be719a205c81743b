//! Set-up: a Vulkan driver that wgpu can use, which on a Linux server means Mesa's software one.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How much a chore depends on a GPU adapter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// It fails without one: tests that pass because nothing ran would be worse.
    Must,
    /// It has a CPU path.
    Wish,
}

/// `apt-get` arguments: the loader, and drivers with lavapipe among them.
const UPDATE: &[&str] = &["update"];
const INSTALL: &[&str] = &["install", "-y", "mesa-vulkan-drivers", "libvulkan1"];

/// Makes sure that a Vulkan driver is there; installs one where that is ours to do (root, apt-get).
///
/// # Errors
/// What to install, if nothing was found and `need` is [`Need::Must`].
pub(crate) fn ensure_driver(need: Need) -> Result<(), String> {
    // Metal and Direct3D 12 belong to the system.
    if !cfg!(target_os = "linux") || has_driver() {
        return Ok(());
    }
    let missing = match install() {
        Ok(()) if has_driver() => return Ok(()),
        Ok(()) => "installed, but still no Vulkan driver is found; are VK_DRIVER_FILES or VK_ICD_FILENAMES set?".into(),
        Err(why) => why,
    };
    match need {
        Need::Must => Err(missing),
        Need::Wish => {
            println!("{missing}\ncarrying on without: everything is computed on the CPU\n");
            Ok(())
        }
    }
}

/// Installs Mesa's software driver as root, or says who must run what.
fn install() -> Result<(), String> {
    let has_apt = succeeds("apt-get", &["--version"]);
    let (update, install) = (UPDATE.join(" "), INSTALL.join(" "));
    if !has_apt {
        return Err("no Vulkan driver found; install one with your package manager, for example\n  \
             dnf install mesa-vulkan-drivers vulkan-loader    (Fedora)\n  \
             pacman -S vulkan-swrast vulkan-icd-loader        (Arch)\n  \
             apk add mesa-vulkan-swrast vulkan-loader         (Alpine)"
            .into());
    }
    if !is_root() {
        return Err(format!(
            "no Vulkan driver found; install Mesa's with\n  sudo apt-get {update} && sudo apt-get {install}"
        ));
    }
    println!("no Vulkan driver found; installing Mesa's: apt-get {update} && apt-get {install}");
    for arguments in [UPDATE, INSTALL] {
        let status = Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("apt-get {} failed ({status})", arguments.join(" "))),
            Err(error) => return Err(format!("cannot run apt-get: {error}")),
        }
    }
    Ok(())
}

/// The loader is there, and a driver whose device is there too: distributions ship the files of drivers for GPUs that a machine
/// may lack.
fn has_driver() -> bool {
    let drivers = driver_files();
    let named = |part: &str| drivers.iter().any(|name| name.contains(part));
    let render_node = has_entry("/dev/dri", "renderD");
    let wsl_gpu = Path::new("/dev/dxg").exists();
    let usable = named("lvp")
        || (named("nvidia") && Path::new("/dev/nvidia0").exists())
        || (named("dzn") && wsl_gpu)
        || (!drivers.is_empty() && render_node);
    usable && has_loader()
}

/// Names of the Vulkan driver manifests (ICDs) that the loader would read.
fn driver_files() -> Vec<String> {
    let chosen = env::var_os("VK_DRIVER_FILES").or_else(|| env::var_os("VK_ICD_FILENAMES"));
    let places: Vec<PathBuf> = match chosen {
        Some(list) => env::split_paths(&list).collect(),
        None => {
            let home = env::var_os("HOME").map(|home| Path::new(&home).join(".local/share/vulkan/icd.d"));
            let system = ["/usr/share", "/usr/local/share", "/etc", "/run/opengl-driver/share"];
            system.iter().map(|folder| Path::new(folder).join("vulkan/icd.d")).chain(home).collect()
        }
    };
    let files = places.into_iter().flat_map(|place| if place.is_dir() { entries(&place) } else { vec![place] });
    files
        .filter(|file| file.extension().is_some_and(|ext| ext == "json") && file.exists())
        .filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned()))
        .collect()
}

const LOADER: &str = "libvulkan.so.1";

/// The loader, `libvulkan.so.1`: as the linker's cache has it, or in the usual places where there is no cache.
fn has_loader() -> bool {
    cached(LOADER).next().is_some() || in_usual_places(LOADER).is_some()
}

/// The loader for this processor.
pub(crate) fn loader() -> Option<PathBuf> {
    library(LOADER)
}

/// A shared library for this processor, by its name.
pub(crate) fn library(name: &'static str) -> Option<PathBuf> {
    cached(name).find(|file| file.to_string_lossy().contains("64")).or_else(|| in_usual_places(name))
}

/// Lines such as `libvulkan.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libvulkan.so.1`.
fn cached(name: &'static str) -> impl Iterator<Item = PathBuf> {
    // /sbin is not on everybody's path.
    let list = ["ldconfig", "/sbin/ldconfig"].iter().find_map(|program| {
        let output = Command::new(program).arg("-p").stderr(Stdio::null()).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    });
    let lines: Vec<String> = list.unwrap_or_default().lines().map(str::to_owned).collect();
    lines.into_iter().filter_map(move |line| {
        let rest = line.trim().strip_prefix(name)?.strip_prefix(" (")?;
        Some(rest.split_once("=> ")?.1.into())
    })
}

fn in_usual_places(name: &str) -> Option<PathBuf> {
    let arch = env::consts::ARCH;
    let usual = ["/usr/lib".into(), "/usr/lib64".into(), "/usr/local/lib".into(), format!("/usr/lib/{arch}-linux-gnu")]
        .map(PathBuf::from);
    let extra = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let places = usual.into_iter().chain(env::split_paths(&extra));
    places.map(|folder| folder.join(name)).find(|file| file.exists())
}

/// A private folder for children to use as XDG_RUNTIME_DIR where the session has none: some drivers complain without.
pub(crate) fn runtime_folder() -> Option<PathBuf> {
    if !cfg!(target_os = "linux") || env::var_os("XDG_RUNTIME_DIR").is_some() {
        return None;
    }
    // Beside this program: in cargo's target folder.
    let folder = env::current_exe().ok()?.with_file_name("xdg-runtime");
    make_private(&folder).ok()?;
    Some(folder)
}

#[cfg(unix)]
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn make_private(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)
}

pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let quiet = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

fn has_entry(folder: &str, prefix: &str) -> bool {
    let starts = |file: &PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    entries(Path::new(folder)).iter().any(starts)
}

/// Paths in a folder; none if it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).map(|list| list.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}
