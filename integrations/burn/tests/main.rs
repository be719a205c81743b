//! The losses on Burn's tensors: what they give, against golden values, the CPU reference in f64 and Burn's own losses;
//! and what becomes of what is wrong.

#[path = "../../../tests/support/conformance.rs"]
#[allow(dead_code, reason = "the crate's own tests use the rest")]
mod conformance;
mod support;

mod burns;
mod cases;
mod edges;
mod memory;
mod networks;
mod sharing;

pub(crate) use support::ensure;
