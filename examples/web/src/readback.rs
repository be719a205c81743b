//! What comes back from the GPU.

use deeploss::{Error, Readback};

/// The bytes of a readback whose commands have been submitted. In a browser the page goes on meanwhile; elsewhere, where only tests
/// ask, this blocks.
pub(crate) async fn arrived(readback: Readback) -> Result<Vec<Vec<u8>>, Error> {
    #[cfg(target_arch = "wasm32")]
    return readback.resolve().await;
    #[cfg(not(target_arch = "wasm32"))]
    readback.wait()
}
