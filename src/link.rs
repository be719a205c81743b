//! Joins WGSL parts into one module by plain concatenation.
//!
//! Module scope in WGSL has no order, so a part needs nothing but to be there. Variants come from `override` constants and from
//! which part supplies a function; no text is generated.

use std::hash::{Hash, Hasher};

/// One WGSL file of the crate.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Path below `shaders/`.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
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

/// The [`Part`] at a path below `shaders/`, included at compile time.
macro_rules! part {
    ($name:literal) => {
        $crate::link::Part { name: $name, text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $name)) }
    };
}
pub(crate) use part;

/// The module made of `parts`, the first one first.
pub(crate) fn link(parts: &[Part]) -> String {
    let mut text = String::with_capacity(parts.iter().map(|part| part.text.len() + 1).sum());
    // Browsers require the directive that naga does not know.
    if cfg!(target_arch = "wasm32") && parts.iter().any(|part| part.text.contains("subgroupShuffleXor")) {
        text.push_str("enable subgroups;\n");
    }
    for part in parts {
        text.push_str(part.text);
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
    use super::{Part, link, locate};

    #[test]
    fn lines_of_the_module_are_found_in_their_files() {
        let parts = [Part { name: "a", text: "one\ntwo\n" }, Part { name: "b", text: "three" }];
        let module = link(&parts);
        for (number, line) in module.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let (file, at) = locate(&parts, number + 1).unwrap();
            let part = parts.iter().find(|part| part.name == file).unwrap();
            assert_eq!(part.text.lines().nth(at - 1), Some(line));
        }
        assert_eq!(locate(&parts, 100), None);
    }
}
