//! A module for launchers that know WGSL and nothing of this crate, such as a tensor library's own runtime. They set no
//! `override` constants, number bindings by the order of their buffers with the uniform last, let wgpu find out from the
//! text which there are, and slice many tensors from one buffer. The text says all of that itself.

use std::fmt::Write;

/// The text of a module with [`Access::Shared`](super::Access), with constants in place of overrides, and with these
/// bindings numbered by their order and the uniform after them. The entry point uses every binding, be it in a branch that
/// is never taken: wgpu leaves out what it does not use.
pub(crate) fn standalone(text: &str, entry: &str, constants: &[(&'static str, u32)], slots: &[u32]) -> String {
    let mut out = String::with_capacity(text.len() + 1024);
    let mut uses = String::new();
    let opening = format!("fn {entry}(");
    let mut in_signature = false;
    for line in text.lines() {
        if let Some(declaration) = line.strip_prefix("override ") {
            out.push_str(&constant(declaration, constants));
        } else if let Some((slot, rest)) = binding(line) {
            let number = slots.iter().position(|&known| known == slot).unwrap_or(slots.len());
            // Writing to a string does not fail.
            let _ = write!(out, "@group(0) @binding({number}) {rest}");
            uses.push_str(&used(rest).unwrap_or_default());
        } else {
            out.push_str(line);
        }
        out.push('\n');
        in_signature |= line.starts_with(&opening);
        if in_signature && line.ends_with('{') {
            out.push_str("    use_bindings();\n");
            in_signature = false;
        }
    }
    debug_assert!(constants.iter().all(|(name, _)| out.contains(&format!("const {name}: "))), "{constants:?}");
    let _ = write!(out, "\nfn use_bindings() {{\n    if (false) {{\n{uses}    }}\n}}\n");
    out
}

/// A statement that uses a storage binding, declared as `var<storage, read_write> name: array<element>;`.
fn used(declaration: &str) -> Option<String> {
    let (name, array) = declaration.strip_prefix("var<storage, read_write> ")?.split_once(": array<")?;
    let first = if array.starts_with("atomic") { format!("atomicLoad(&{name}[0])") } else { format!("{name}[0]") };
    Some(format!("        _ = {first};\n"))
}

/// `NAME: type = default;` with the value that it has here.
fn constant(declaration: &str, constants: &[(&'static str, u32)]) -> String {
    let value = declaration.split_once(": ").and_then(|(name, rest)| {
        let (ty, rest) = rest.split_once(" = ")?;
        let (_, comment) = rest.split_once(';')?;
        let &(_, value) = constants.iter().find(|(known, _)| *known == name)?;
        let value = if ty == "bool" { (value != 0).to_string() } else { format!("{ty}({value})") };
        Some(format!("const {name}: {ty} = {value};{comment}"))
    });
    value.unwrap_or_else(|| format!("const {declaration}"))
}

/// The slot of a declaration, and what follows it.
fn binding(line: &str) -> Option<(u32, &str)> {
    let (slot, rest) = line.strip_prefix("@group(0) @binding(")?.split_once(") ")?;
    Some((slot.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::standalone;

    #[test]
    fn overrides_and_bindings_are_written_out() {
        let text = "override A: bool = false;   // why\noverride B: u32 = 2u;\noverride C: u32 = 2u * B;\n\
            @group(0) @binding(0) var<uniform> u: U;\n@group(0) @binding(4) var<storage, read_write> x: array<u32>;\n\
            @group(0) @binding(9) var<storage, read_write> y: array<atomic<u32>>;\nfn f(\n    x: u32,\n) {\n}";
        let expected = "const A: bool = true;   // why\nconst B: u32 = u32(7);\nconst C: u32 = 2u * B;\n\
            @group(0) @binding(2) var<uniform> u: U;\n@group(0) @binding(0) var<storage, read_write> x: array<u32>;\n\
            @group(0) @binding(1) var<storage, read_write> y: array<atomic<u32>>;\nfn f(\n    x: u32,\n) {\n    use_bindings();\n}\n\n\
            fn use_bindings() {\n    if (false) {\n        _ = x[0];\n        _ = atomicLoad(&y[0]);\n    }\n}\n";
        assert_eq!(standalone(text, "f", &[("A", 1), ("B", 7)], &[4, 9]), expected);
    }
}
