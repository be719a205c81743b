//! One linked module.

use deeploss::internals::Kernel;

/// The text of a kernel's module; for a browser, with the directive that naga does not know.
#[must_use]
pub fn text(kernel: &Kernel, web: bool) -> String {
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
#[must_use]
pub fn hash(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// `cross_entropy.rows` of `deeploss.cross_entropy.rows`.
#[must_use]
pub fn name(kernel: &Kernel) -> String {
    kernel.label().trim_start_matches("deeploss.").to_owned()
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
