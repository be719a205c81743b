//! Where the page computes: the visitor's GPU where the browser lends it, else the CPU reference, and why.

use deeploss::Context;
use wasm_bindgen::prelude::wasm_bindgen;

/// The page's context. One is opened when the page loads, and every figure shares it.
#[wasm_bindgen]
pub struct Device {
    ctx: Context,
    why_cpu: Option<String>,
}

#[wasm_bindgen]
impl Device {
    /// The GPU if the browser has one, unless `cpu` asks for the reference.
    pub async fn open(cpu: bool) -> Device {
        if cpu {
            return Self { ctx: Context::cpu(), why_cpu: Some("you asked for the CPU".into()) };
        }
        match Context::new_async().await {
            Ok(ctx) => Self { ctx, why_cpu: None },
            Err(error) => Self { ctx: Context::cpu(), why_cpu: Some(error.to_string()) },
        }
    }

    /// Whether losses run as shaders on a GPU.
    #[wasm_bindgen(getter)]
    pub fn gpu(&self) -> bool {
        self.ctx.facts().is_some()
    }

    /// The adapter, for people.
    #[wasm_bindgen(getter)]
    pub fn name(&self) -> String {
        self.ctx.describe()
    }

    /// Why it is the CPU; nothing on a GPU.
    #[wasm_bindgen(getter, js_name = whyCpu)]
    pub fn why_cpu(&self) -> Option<String> {
        self.why_cpu.clone()
    }
}

impl Device {
    /// Where the other modules of the page evaluate, prepare and submit.
    #[must_use]
    pub fn ctx(&self) -> &Context {
        &self.ctx
    }
}
