//! The tests under Vulkan's validation layer, which must have nothing to say.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{Failure, cargo_command, driver, root};

const LAYER: &str = "VkLayer_khronos_validation.json";
const PACKAGE: &str = "vulkan-validationlayers";

/// Runs the tests with these arguments and fails if they do, or if the layer reports anything.
pub(crate) fn validate(arguments: &[std::ffi::OsString]) -> Result<(), Failure> {
    driver::ensure_driver(driver::Need::Must)?;
    ensure_layer()?;
    let folder = root().join("target").join("validation");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let (settings, log) = (folder.join("vk_layer_settings.txt"), folder.join("messages.log"));
    let text = format!(
        "khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG\n\
         khronos_validation.report_flags = error,warn\n\
         khronos_validation.log_filename = {}\n",
        log.display()
    );
    fs::write(&settings, text).map_err(|e| format!("{}: {e}", settings.display()))?;
    if log.exists() {
        fs::remove_file(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    }
    // Without debug information: it names WGSL as the source language, which older layers do not know.
    let status = cargo_command("test")
        .args(["--test", "deeploss"])
        .args(arguments)
        .env("VK_LAYER_SETTINGS_PATH", &settings)
        .env("WGPU_VALIDATION", "1")
        .env("WGPU_DEBUG", "0")
        .status()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    if !status.success() {
        return Err(Failure::Status(status));
    }
    let Ok(messages) = fs::read_to_string(&log) else {
        return Err("the validation layer was not loaded: it wrote no log".into());
    };
    let first: Vec<&str> = messages.lines().filter(|line| !line.trim().is_empty()).take(20).collect();
    if first.is_empty() {
        println!("the validation layer has nothing to say");
        return Ok(());
    }
    Err(format!("the validation layer reports, in {}:\n{}", log.display(), first.join("\n")).into())
}

/// Makes sure of the layer; installs it as root where there is apt-get.
fn ensure_layer() -> Result<(), String> {
    let has_layer = || {
        let folders = ["/usr/share", "/usr/local/share", "/etc"].map(Path::new);
        folders.iter().any(|folder| folder.join("vulkan/explicit_layer.d").join(LAYER).exists())
    };
    if has_layer() {
        return Ok(());
    }
    if !driver::is_root() {
        return Err(format!("Vulkan's validation layer is missing; on Debian: sudo apt-get install {PACKAGE}"));
    }
    println!("installing Vulkan's validation layer: apt-get install -y {PACKAGE}");
    let status =
        Command::new("apt-get").args(["install", "-y", PACKAGE]).env("DEBIAN_FRONTEND", "noninteractive").status();
    match status {
        Ok(status) if status.success() && has_layer() => Ok(()),
        _ => Err(format!("cannot install {PACKAGE}; `apt-get update` first may help")),
    }
}
