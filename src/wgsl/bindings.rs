//! What a module binds, read from the declarations in its files: slot, name, access, and the stride of the array. Nothing of it is
//! typed again in Rust.
//!
//! A storage declaration is one line of one form:
//!
//! ```wgsl
//! @group(0) @binding(8) var<storage, read_write> losses: array<u32>;
//! ```

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::Part;

/// A storage buffer that a module declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Binding {
    /// Binding number in group 0.
    pub slot: u32,
    /// Name of the variable.
    pub name: &'static str,
    /// Whether the kernel may write it.
    pub written: bool,
    /// Bytes of one element of the array.
    pub stride: u64,
}

/// A declaration as it stands in a file; the element's type may be declared in another one.
#[derive(Debug, Clone, Copy)]
struct Declared {
    slot: u32,
    name: &'static str,
    written: bool,
    element: &'static str,
}

/// The storage buffers of a module, by ascending slot.
pub(crate) fn bindings(parts: &[Part]) -> Vec<Binding> {
    let mut found: Vec<Binding> = parts
        .iter()
        .flat_map(|part| declared(*part))
        .map(|&Declared { slot, name, written, element }| {
            let (size, align) = layout(element, parts);
            Binding { slot, name, written, stride: size.next_multiple_of(align) }
        })
        .collect();
    found.sort_unstable_by_key(|binding| binding.slot);
    found
}

/// The declarations of one file. A file is read once: plans are made often, and there are few files.
fn declared(part: Part) -> &'static [Declared] {
    static FILES: Mutex<Option<HashMap<&'static str, &'static [Declared]>>> = Mutex::new(None);
    let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    files
        .get_or_insert_with(HashMap::new)
        .entry(part.name)
        .or_insert_with(|| part.text.lines().filter_map(declaration).collect::<Vec<_>>().leak())
}

fn declaration(line: &'static str) -> Option<Declared> {
    let (slot, rest) = line.strip_prefix("@group(0) @binding(")?.split_once(") var<storage, ")?;
    let (access, rest) = rest.split_once("> ")?;
    let (name, array) = rest.split_once(": array<")?;
    let element = array.strip_suffix(">;")?;
    Some(Declared { slot: slot.parse().ok()?, name, written: access == "read_write", element })
}

/// The text of a file in which all buffers are declared for reading and writing. WGSL has no alias of an access, and a second file beside
/// each that reads a tensor would say everything twice.
pub(crate) fn shared(text: &str) -> String {
    text.replace(") var<storage, read> ", ") var<storage, read_write> ")
}

/// Size and alignment of a type in memory; of a struct or an alias by its declaration in the module.
fn layout(ty: &str, parts: &[Part]) -> (u64, u64) {
    match ty {
        "u32" | "i32" | "f32" | "atomic<u32>" => return (4, 4),
        "u64" => return (8, 8),
        _ => {}
    }
    let inner = |prefix: &str| ty.strip_prefix(prefix)?.strip_suffix('>');
    if let Some(scalar) = inner("vec2<") {
        let (size, align) = layout(scalar, parts);
        return (2 * size, 2 * align);
    }
    if let Some(scalar) = inner("vec4<") {
        let (size, align) = layout(scalar, parts);
        return (4 * size, 4 * align);
    }
    if let Some((element, count)) = inner("array<").and_then(|array| array.rsplit_once(", ")) {
        let (size, align) = layout(element, parts);
        return (size.next_multiple_of(align) * count.parse().unwrap_or(1), align);
    }
    let texts = || parts.iter().map(|part| part.text);
    let alias = |text: &'static str| text.split_once(&format!("alias {ty} = "))?.1.split_once(';');
    if let Some((aliased, _)) = texts().find_map(alias) {
        return layout(aliased, parts);
    }
    let members = texts().find_map(|text| text.split_once(&format!("struct {ty} {{"))?.1.split_once("\n}"));
    let (mut size, mut align) = (0_u64, 1);
    for line in members.map_or("", |(members, _)| members).lines() {
        let code = line.split("//").next().unwrap_or_default().trim().trim_end_matches(',');
        if let Some((_, member)) = code.split_once(": ") {
            let (member_size, member_align) = layout(member, parts);
            size = size.next_multiple_of(member_align) + member_size;
            align = align.max(member_align);
        }
    }
    (size.next_multiple_of(align), align)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wgsl::part;

    #[test]
    fn declarations_are_read_as_they_stand() {
        let parts = [part!("items/grad_second/four.wgsl"), part!("rows/template.wgsl"), part!("io/words/64.wgsl")];
        let expected = [
            Binding { slot: 8, name: "losses", written: true, stride: 4 },
            Binding { slot: 11, name: "grad_second", written: true, stride: 16 },
        ];
        assert_eq!(bindings(&parts), expected);
    }

    /// Every line of every file that declares a storage buffer has the form that is read here.
    #[test]
    fn structs_and_aliases_are_laid_out_as_wgsl_does() {
        let text = "struct Inner {\n    a: vec4<u32>,   // a: comment\n    b: f32,\n}\nalias Two = vec2<f32>;\nstruct Acc {\n    x: f32,\n    inner: Inner,\n    two: Two,\n}\n";
        let parts = [Part { name: "test", text }];
        assert_eq!(layout("Inner", &parts), (32, 16));
        assert_eq!(layout("Acc", &parts), (64, 16));
        assert_eq!(layout("array<vec4<u32>, 2>", &parts), (32, 16));
    }
}
