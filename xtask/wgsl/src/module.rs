//! One linked module, and what a kernel of it is given.

use deeploss::internals::{Dispatch, Kernel};
use serde_json::{Value, json};

/// The text of a kernel's module; for a browser, with the directive that naga does not know.
pub(crate) fn text(kernel: &Kernel, web: bool) -> String {
    let module = kernel.wgsl();
    if web && uses_subgroups(&module) && !module.contains("enable subgroups;") {
        format!("enable subgroups;\n{module}")
    } else {
        module
    }
}

/// A call of a subgroup function, or one of the built-in values, outside comments.
fn uses_subgroups(module: &str) -> bool {
    let code = module.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_')).any(|word| {
        let rest = word.strip_prefix("subgroup").and_then(|rest| rest.chars().next());
        rest.is_some_and(char::is_uppercase) || matches!(word, "subgroup_size" | "subgroup_invocation_id")
    })
}

/// A short name that changes with the text: FNV-1a.
pub(crate) fn hash(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// `cross_entropy.rows` of `deeploss.cross_entropy.rows`.
pub(crate) fn name(kernel: &Kernel) -> String {
    kernel.label().trim_start_matches("deeploss.").to_owned()
}

pub(crate) fn access(written: bool) -> &'static str {
    if written { "read_write" } else { "read" }
}

/// What a kernel is given, for machines.
pub(crate) fn given(Dispatch { kernel, uniforms, .. }: &Dispatch) -> Value {
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
    json!({
        "label": kernel.label(),
        "entry": kernel.entry(),
        "constants": constants,
        "uniform_bytes": uniforms.len(),
        "bindings": bindings,
    })
}

#[cfg(test)]
mod tests {
    use super::{hash, uses_subgroups};

    #[test]
    fn comments_use_no_subgroups() {
        assert!(uses_subgroups("let a = subgroupAdd(b);"));
        assert!(uses_subgroups("@builtin(subgroup_invocation_id) lane: u32"));
        assert!(!uses_subgroups("// subgroupAdd(b)\nlet subgroups = 1;"));
    }

    #[test]
    fn a_text_names_its_file() {
        assert_eq!(hash("a"), "af63dc4c8601ec8c");
    }
}
