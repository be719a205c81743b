//! The page's side in Rust: everything that it computes. JavaScript draws, and asks by JSON.

pub mod call;
pub mod code;
pub mod head;
pub mod race;
pub mod table;

mod readback;

#[cfg(any(test, feature = "conformance"))]
pub mod faults;

#[cfg(target_arch = "wasm32")]
pub mod device;
#[cfg(target_arch = "wasm32")]
pub mod page;

#[cfg(all(target_arch = "wasm32", feature = "conformance"))]
pub mod conformance;
#[cfg(all(target_arch = "wasm32", feature = "conformance"))]
mod support;
