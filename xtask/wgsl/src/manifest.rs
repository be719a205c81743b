//! Every module as a file, and what its programs are given, for other tools to read.

use std::fs;
use std::path::Path;

use deeploss_wgsl::all::{Call, Module, Program};
use serde_json::{Value, json};

/// Writes the modules and `manifest.json`.
pub(crate) fn write(folder: &Path, modules: &[Module], web: bool) -> Result<(), String> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
    for module in modules {
        let path = folder.join(file(module));
        fs::write(&path, &module.text).map_err(|e| failed(&path, e))?;
    }
    let path = folder.join("manifest.json");
    fs::write(&path, manifest(modules, web)).map_err(|e| failed(&path, e))
}

fn file(module: &Module) -> String {
    format!("{}.wgsl", module.name)
}

/// JSON with a line for each program: there are tens of thousands.
fn manifest(modules: &[Module], web: bool) -> String {
    let of = |module: &Module| {
        let parts: Vec<&str> = module.parts.iter().map(|part| part.name).collect();
        let (file, parts) = (json!(file(module)), json!(parts));
        let programs: Vec<Value> = module.programs.iter().map(given).collect();
        format!("{{\"file\": {file}, \"parts\": {parts}, \"kernels\": [\n{}\n]}}", joined(&programs))
    };
    let modules: Vec<String> = modules.iter().map(of).collect();
    format!("{{\"web\": {web}, \"modules\": [\n{}\n]}}\n", joined(&modules))
}

fn joined(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",\n")
}

/// What a program is given, and one call that runs it.
fn given(Program { kernel, uniform_bytes, call }: &Program) -> Value {
    let constants: serde_json::Map<_, _> =
        kernel.constants().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let bindings: Vec<Value> = kernel
        .bindings()
        .iter()
        .map(|binding| {
            json!({
                "slot": binding.slot,
                "name": binding.name,
                "access": access(binding.written),
                "stride": binding.stride,
            })
        })
        .collect();
    let Call { loss, variant, options, shape, strategy, facts, grid } = call;
    json!({
        "label": kernel.label(),
        "entry": kernel.entry(),
        "constants": constants,
        "uniform_bytes": uniform_bytes,
        "bindings": bindings,
        "call": {
            "loss": loss,
            "variant": variant,
            "options": options,
            "shape": shape,
            "strategy": strategy,
            "facts": facts,
            "grid": grid,
        },
    })
}

pub(crate) fn access(written: bool) -> &'static str {
    if written { "read_write" } else { "read" }
}
