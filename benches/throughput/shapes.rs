//! Which sizes are measured where none are named.

use crate::storage::Storage;

/// On CPU adapters, and on the CPU path.
pub(crate) const ON_CPU: [[usize; 2]; 4] = [[8192, 10], [4096, 1000], [1024, 32_000], [256, 128_256]];
/// For a run of every loss on a CPU adapter that takes a few minutes on two cores.
pub(crate) const FEWER_ROWS: [[usize; 2]; 4] = [[8192, 10], [4096, 1000], [256, 32_000], [64, 128_256]];
/// Columns of the element-wise losses' inputs: any number would do.
pub(crate) const COLUMNS: usize = 1024;

/// Classes on GPUs: few, many, no multiple of four, vocabularies.
pub(crate) fn classes(storage: Storage) -> &'static [usize] {
    match storage {
        Storage::F32 => &[10, 128, 1000, 1003, 4096, 32_000, 50_257, 131_072],
        Storage::F16 | Storage::Bf16 => &[128, 1000, 4096, 32_000],
    }
}

/// As many rows as these bytes of logits hold.
pub(crate) fn filling(bytes: usize, storage: Storage, classes: usize) -> [usize; 2] {
    [(bytes / (storage.size() * classes)).max(1), classes]
}
