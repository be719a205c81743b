//! What the repository's tools for kernels share: the devices that plans are made for, and calls made from the table of losses.

pub mod calls;
pub mod devices;
