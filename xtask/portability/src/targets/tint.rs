//! Tint, the shader compiler of Chromium: in Dawn's binding for Node.js, the npm package webgpu. Dawn's null backend validates and
//! compiles as for any other, and runs nothing.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{Compiler, Found, Place, Run, Target, pipeline_json};
use crate::install::Piece;
use crate::programs::{Abilities, Program};
use crate::report::Column;
use crate::translate::Translator;

pub(crate) struct Tint;

impl Target for Tint {
    fn name(&self) -> &'static str {
        "tint"
    }

    fn about(&self) -> &'static str {
        "WebGPU in Chromium, compiled: Tint through Dawn's null backend"
    }

    fn goal(&self) -> Option<f64> {
        Some(0.5)
    }

    fn pieces(&self) -> &'static [Piece] {
        &[Piece::Debian("nodejs"), Piece::NpmWebgpu]
    }

    fn column(&self, run: &Run<'_>) -> Column {
        self.feed(run)
    }
}

impl Compiler for Tint {
    fn find(&self, place: &Place) -> Result<Found, String> {
        let package = place.file("npm/node_modules/webgpu/package.json")?;
        let node = place.program("node")?;
        let script = place.folder("npm")?.join("tint.mjs");
        fs::write(&script, include_str!("tint.mjs")).map_err(|e| format!("{}: {e}", script.display()))?;
        let text = fs::read_to_string(&package).map_err(|e| format!("{}: {e}", package.display()))?;
        let package: serde_json::Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let version = format!("Dawn of npm webgpu {}", package["version"].as_str().unwrap_or("?"));
        let command = move || {
            let mut command = Command::new(&node);
            command.arg(&script);
            command
        };
        Ok(Found::new(&version, Abilities { int64: false, ..Abilities::ALL }, command))
    }

    fn request(&self, _: &Place, _: &mut Translator, program: &Program) -> Result<String, String> {
        let mut request = pipeline_json(program);
        request["text"] = json!(program.web_text());
        Ok(request.to_string())
    }
}
