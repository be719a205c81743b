//! The integration tests: one binary, one module a subject. `cargo xtask test parity` runs the tests with `parity` in
//! their name, which is that of the module and of the function.

mod support;

mod broadcast;
mod cpu;
mod divergences;
mod docs;
mod edges;
mod errors;
mod excluded;
mod faults;
mod goldens;
mod gradients;
mod guide;
mod identities;
mod in_place;
mod large;
mod memory;
mod options;
mod overflow;
mod parity;
mod plans;
mod properties;
mod prove;
mod resident;
mod rows;
mod shaders;
mod shared;
mod storage;
mod strategies;
mod sums;
mod targets;
mod tuning;
