//! From a variant to a WGSL module, by plain concatenation of files.
//!
//! Module scope in WGSL has no order, so a part needs nothing but to be there. Variants come from `override` constants and from
//! which file supplies a function; no text is generated, but for one word of declarations ([`Access`]). [`variant`] has the values
//! that tell one kernel from another, [`parts`] maps them to files, [`bindings`] reads from the files what they bind, [`standalone`]
//! writes a module out for launchers that know nothing of this crate.

pub(crate) mod bindings;
mod parts;
pub(crate) mod standalone;
pub(crate) mod variant;

use std::hash::{Hash, Hasher};

/// One WGSL file of the crate.
#[derive(Clone, Copy)]
pub struct Part {
    /// Path below `shaders/`.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// By its name: the text is long.
impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Part {
    /// The file's name without folder and ending.
    #[must_use]
    pub fn stem(&self) -> &'static str {
        self.name.rsplit('/').next().unwrap_or(self.name).trim_end_matches(".wgsl")
    }
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl Eq for Part {}
impl Hash for Part {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// How a module accesses its storage buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Access {
    /// As its files declare them: what is only read is bound read-only.
    #[default]
    ReadOnly,
    /// All may be written, so that ranges of one buffer serve as inputs and outputs. A device refuses a buffer that one dispatch binds
    /// in both ways.
    Shared,
}

/// The [`Part`] at a path below `shaders/`, included at compile time.
macro_rules! part {
    ($($path:literal),+) => {
        $crate::wgsl::Part {
            name: concat!($($path),+),
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $($path),+)),
        }
    };
}
pub(crate) use part;

/// Boolean `override` constants of a loss: names, and which are true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flags {
    names: &'static [&'static str],
    /// Bit k is the value of name k.
    bits: u32,
}

impl Flags {
    /// A loss without constants of its own.
    pub const NONE: Self = Self { names: &[], bits: 0 };

    /// Names and values in the same order; see [`flags!`].
    pub(crate) fn new<const N: usize>(names: &'static [&'static str; N], values: [bool; N]) -> Self {
        let bits = values.iter().enumerate().fold(0, |bits, (k, &on)| bits | u32::from(on) << k);
        Self { names, bits }
    }

    /// Whether a constant is there and true.
    #[must_use]
    pub fn contains(self, name: &str) -> bool {
        self.iter().any(|(known, on)| known == name && on)
    }

    /// Names and values.
    pub fn iter(self) -> impl Iterator<Item = (&'static str, bool)> {
        self.names.iter().enumerate().map(move |(k, &name)| (name, self.bits >> k & 1 != 0))
    }
}

/// [`Flags`] by name: `flags! { SMOOTHING: e > 0.0, CAPPED: cap.is_some() }`.
macro_rules! flags {
    ($($name:ident: $value:expr),+ $(,)?) => {
        $crate::wgsl::Flags::new(&[$(stringify!($name)),+], [$($value),+])
    };
}
pub(crate) use flags;

/// The module made of `parts`, the first one first.
pub(crate) fn link(parts: &[Part], access: Access) -> String {
    let mut text = String::with_capacity(parts.iter().map(|part| part.text.len() + 1).sum());
    // Browsers require the directive that naga does not know.
    if cfg!(target_arch = "wasm32") && parts.iter().any(|part| part.text.contains("subgroupShuffleXor")) {
        text.push_str("enable subgroups;\n");
    }
    for part in parts {
        match access {
            Access::ReadOnly => text.push_str(part.text),
            Access::Shared => text.push_str(&bindings::shared(part.text)),
        }
        text.push('\n');
    }
    text
}

/// Where line `line` (from 1) of the linked module comes from: file and line there.
pub(crate) fn locate(parts: &[Part], line: usize) -> Option<(&'static str, usize)> {
    let mut left = line;
    for part in parts {
        let lines = part.text.lines().count() + 1;
        if left <= lines {
            return Some((part.name, left));
        }
        left -= lines;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Access, Part, link, locate};

    #[test]
    fn lines_of_the_module_are_found_in_their_files() {
        let parts = [Part { name: "a", text: "one\ntwo\n" }, Part { name: "b", text: "three" }];
        let module = link(&parts, Access::ReadOnly);
        for (number, line) in module.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let (file, at) = locate(&parts, number + 1).unwrap();
            let part = parts.iter().find(|part| part.name == file).unwrap();
            assert_eq!(part.text.lines().nth(at - 1), Some(line));
        }
        assert_eq!(locate(&parts, 100), None);
    }

    /// Lines stay where they are, and nothing else changes.
    #[test]
    fn shared_access_is_another_word_in_declarations() {
        let text = "// var<storage, read>\n@group(0) @binding(1) var<storage, read> input: array<u32>;\n";
        let parts = [Part { name: "a", text }];
        assert_eq!(link(&parts, Access::ReadOnly), format!("{text}\n"));
        let shared = "// var<storage, read>\n@group(0) @binding(1) var<storage, read_write> input: array<u32>;\n\n";
        assert_eq!(link(&parts, Access::Shared), shared);
    }
}
