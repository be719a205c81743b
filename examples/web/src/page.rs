//! What JavaScript calls.

use deeploss::{Error, Evaluate};
use serde_json::{Value, json};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::call::{Call, wide};
use crate::code::Programs;
use crate::device::Device;
use crate::table::table;

/// The table of losses, as JSON.
#[wasm_bindgen]
pub fn losses() -> String {
    table().to_string()
}

/// A call's loss, gradients, probabilities and curve, as JSON; `error` where the loss refuses it, and `failed` where the device failed.
#[wasm_bindgen]
pub async fn answer(device: &Device, call: String) -> String {
    let ctx = device.ctx();
    let call = match parse(&call) {
        Ok(call) => call,
        Err(error) => return json!({ "error": error }).to_string(),
    };
    let evaluate = async |loss: &dyn deeploss::Loss, tensors: &deeploss::internals::OwnedTensors, want| {
        loss.evaluate_async(ctx, &tensors.view().wants(want)).await.map(wide)
    };
    let answer = call.answer(evaluate).await;
    let refusal = |error: Error| json!({ "error": error.to_string(), "failed": matches!(error, Error::Device { .. }) });
    answer.unwrap_or_else(refusal).to_string()
}

/// A call as programs, as JSON.
#[wasm_bindgen]
pub fn programs(call: &str) -> String {
    let programs = match parse(call) {
        Ok(call) => {
            let Programs { line, arrays, buffers, pytorch } = Programs::of(&call);
            json!({ "line": line, "arrays": arrays, "buffers": buffers, "pytorch": pytorch })
        }
        Err(error) => json!({ "error": error }),
    };
    programs.to_string()
}

fn parse(call: &str) -> Result<Call, String> {
    let call: Value = serde_json::from_str(call).map_err(|e| e.to_string())?;
    Call::parse(&call)
}
