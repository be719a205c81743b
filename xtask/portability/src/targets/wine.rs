//! What every program under wine is told.

use std::path::Path;
use std::process::Command;

/// A prefix of our own; FXC beside the program rather than wine's own library of that name; no offers to download Mono and Gecko.
pub(super) fn environment(command: &mut Command, prefix: &Path) {
    command.env("WINEPREFIX", prefix).env("WINEDEBUG", "-all");
    command.env("WINEDLLOVERRIDES", "d3dcompiler_47=n;bcryptprimitives=n;mscoree,mshtml=");
}
