//! What one run of a loss is told: how its rows are mapped to invocations, how its tensors are stored, what it computes.

use deeploss::{RowStrategy, Want};

use crate::storage::Storage;

/// How one loss of a block runs; without a strategy, as the crate's plan has it.
pub(crate) type Way = (Storage, Option<RowStrategy>);

/// `plan`, or any strategy as the crate writes it.
pub(crate) fn strategy(text: &str) -> Result<Option<RowStrategy>, String> {
    if text == "plan" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error: deeploss::Error| format!("{error}; `--strategy` takes plan too"))
}

pub(crate) const MODES: [&str; 3] = ["loss", "grad", "both"];
/// The kernel of the loss alone, out of a call of the mode `both`: without what counts and sums.
pub(crate) const KERNEL: &str = "kernel";

pub(crate) fn want(mode: &str) -> Want {
    match mode {
        "loss" => Want::LOSS,
        "grad" => Want::GRAD,
        _ => Want::LOSS | Want::GRAD,
    }
}
