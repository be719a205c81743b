//! What was expected of a GPU of the class of an H100 or H200 before it was measured: to be held against what comes out.

use crate::choice::KERNEL;
use crate::storage::Storage;

/// Times of one loss as multiples of a copy, or of the least that its bytes take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// The kernel of the loss alone, loss and gradient.
    pub(crate) kernel: f64,
    /// The whole call, loss and gradient.
    pub(crate) fused: f64,
    /// The whole call, loss alone.
    pub(crate) forward: f64,
}

impl Figures {
    pub(crate) fn of(self, mode: &str) -> f64 {
        match mode {
            KERNEL => self.kernel,
            "loss" => self.forward,
            _ => self.fused,
        }
    }
}

const fn figures(kernel: f64, fused: f64, forward: f64) -> Figures {
    Figures { kernel, fused, forward }
}

/// Of `cross_entropy` by storage and classes, each a multiple of the copy in the same storage.
///
/// `kernel` is what came out on an H100; the whole call has 0.02 to 0.05 more for the dispatches that count and sum, which were
/// made shorter after that. benches/README.md holds both against each other.
#[rustfmt::skip]
pub(crate) const CROSS_ENTROPY: &[(Storage, usize, Figures)] = &[
    (Storage::F32, 10, figures(1.38, 1.50, 0.95)),
    (Storage::F32, 128, figures(1.09, 1.14, 0.63)),
    (Storage::F32, 1000, figures(1.07, 1.12, 0.60)),
    (Storage::F32, 1003, figures(1.09, 1.13, 0.61)),
    (Storage::F32, 4096, figures(1.06, 1.08, 0.56)),
    (Storage::F32, 32_000, figures(1.09, 1.11, 0.63)),
    (Storage::F32, 50_257, figures(1.42, 1.43, 0.73)),
    (Storage::F32, 131_072, figures(1.63, 1.64, 0.62)),
    (Storage::F16, 1000, figures(1.10, 1.15, 0.72)),
    (Storage::Bf16, 128, figures(1.27, 1.32, 0.80)),
    (Storage::Bf16, 1000, figures(1.20, 1.24, 0.72)),
    (Storage::Bf16, 4096, figures(1.18, 1.20, 0.73)),
    (Storage::Bf16, 32_000, figures(1.45, 1.46, 0.95)),
];

/// Of every element-wise loss, as multiples of its own least.
pub(crate) const ELEMENT_WISE: Figures = figures(1.05, 1.10, 1.15);
/// Of every other loss over rows, as multiples of its own least.
pub(crate) const OTHER_ROWS: Figures = figures(1.15, 1.20, 1.25);

pub(crate) fn of_cross_entropy(storage: Storage, classes: usize) -> Option<Figures> {
    CROSS_ENTROPY.iter().find(|(s, c, _)| (*s, *c) == (storage, classes)).map(|&(.., figures)| figures)
}
