//! What the examples share: data sets, seeded random numbers, curves as SVG, and how a program ends.

#![allow(dead_code, unused_imports, reason = "every example uses its own part")]

mod data;
mod figure;
mod rng;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(crate) use data::{Dataset, accuracy, breast_cancer, digits, standardise};
pub(crate) use figure::{Panel, Series, draw_curves};
pub(crate) use rng::Rng;

/// Results of fallible steps in examples.
pub(crate) type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Ends `main`: an error becomes one line and a failing exit code.
pub(crate) fn finish(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where an example may write a file: `deeploss-demo/NAME` in cargo's target folder. Makes the folder.
pub(crate) fn output_file(name: &str) -> Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let folder = target.join("deeploss-demo");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder.join(name))
}

/// The root of this crate.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
