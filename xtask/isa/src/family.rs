//! The GPUs that kernels are compiled for.

/// A GPU, as Mesa calls its family, and the device that plans are made for.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) device: &'static str,
}

/// One of each architecture that differs: RDNA 2 compiles as RDNA 3 does.
pub(crate) const FAMILIES: &[Family] =
    &[Family { name: "VEGA10", device: "gcn" }, Family { name: "GFX1100", device: "rdna" }];
