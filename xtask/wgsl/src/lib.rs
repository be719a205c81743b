//! What the repository's tools for kernels share: the devices that plans are made for, calls made from the table of losses, and
//! the linked modules of all plans.

pub mod all;
pub mod calls;
pub mod devices;
pub mod module;
