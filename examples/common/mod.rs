//! What the examples share: where losses are computed, data sets, small networks, seeded random numbers, curves as SVG,
//! and how a program ends.

#![allow(dead_code, unused_imports, reason = "every example uses its own part")]

mod data;
mod figure;
mod network;
mod rng;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use deeploss::{Context, INSTALL_A_DRIVER};

pub(crate) use data::{Dataset, accuracy, breast_cancer, digits, predicted, standardise};
pub(crate) use figure::{Panel, Series, draw_curves};
pub(crate) use network::{Network, Pass, Sgd, loss_and_grad};
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

/// Where the losses are computed: the GPU, or the CPU where there is none. Prints which, and what a GPU would take.
pub(crate) fn context() -> Context {
    let ctx = Context::new_or_cpu();
    println!("device      {}", ctx.describe());
    if ctx.device().is_none() {
        println!("            no GPU adapter: {INSTALL_A_DRIVER}");
    }
    ctx
}

/// Where an example may write a file: `deeploss-demo/NAME` in cargo's target folder. Makes the folder.
pub(crate) fn output_file(name: &str) -> Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let folder = target.join("deeploss-demo");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder.join(name))
}

/// The last value of a curve; NaN if there is none.
pub(crate) fn last(curve: &[f64]) -> f64 {
    curve.last().copied().unwrap_or(f64::NAN)
}

/// The root of this crate.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
