//! What JavaScript calls: a head, and what it shows as JSON.

use serde_json::json;
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

use super::{CLASSES, TRUE_RANK, Work};
use crate::device::Device;

/// See [`super::Head`]. One call at a time: each is awaited before the next.
#[wasm_bindgen]
pub struct Head(super::Head);

type Result<T> = std::result::Result<T, JsError>;

#[wasm_bindgen]
impl Head {
    /// So many rows.
    pub async fn open(device: &Device, rows: usize) -> Result<Head> {
        Ok(Self(super::Head::new(device.ctx(), rows).await?))
    }

    /// Sizes, as JSON.
    pub fn about(&self) -> String {
        json!({
            "classes": CLASSES,
            "bytes": 4 * self.0.logits.len(),
            "scratch": self.0.scratch(),
            "hasClock": self.0.has_clock(),
            "trueRank": TRUE_RANK,
        })
        .to_string()
    }

    /// The first row's logits, largest first.
    pub fn ranked(&self) -> Vec<f32> {
        self.0.ranked()
    }

    /// Loss and statistics at a temperature, as JSON.
    pub async fn look(&mut self, temperature: f32) -> Result<String> {
        let look = self.0.look(temperature).await?;
        let (loss, lse, entropy) = (look.loss, look.lse, look.entropy);
        Ok(json!({ "loss": loss, "lse": lse, "entropy": entropy, "argmax": look.argmax }).to_string())
    }

    /// Loss and gradient so many times, or as many copies; seconds by the device's clock, if it has one.
    pub async fn run(&mut self, copies: bool, times: usize) -> Result<Option<f64>> {
        Ok(self.0.run(if copies { Work::Copy } else { Work::Fused }, times).await?)
    }
}
