//! The shaders as text: every file of the folder, and what tests look for in one. Comments do not count.

use std::fs;
use std::path::Path;

/// A file of the folder.
pub(crate) struct File {
    /// Path below `shaders/`, with `/` between folders.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A function that a file declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Types of the parameters, and of the result.
    pub(crate) signature: String,
}

/// Every WGSL file below `shaders/`, by name.
pub(crate) fn files() -> Vec<File> {
    let root = super::root().join("shaders");
    let mut found = Vec::new();
    walk(&root, "", &mut found);
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(found.len() > 50, "only {} shaders in {}", found.len(), root.display());
    found
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("a readable folder").path();
        let name = format!("{prefix}{}", path.file_name().unwrap_or_default().display());
        if path.is_dir() {
            walk(&path, &format!("{name}/"), found);
        } else if path.extension().is_some_and(|extension| extension == "wgsl") {
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            found.push(File { name, text });
        }
    }
}

impl File {
    /// The text without comments.
    pub(crate) fn code(&self) -> String {
        self.text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
    }

    /// The folder below `shaders/`, and the file's name without its ending.
    pub(crate) fn place(&self) -> (&str, &str) {
        let (folder, file) = self.name.rsplit_once('/').unwrap_or(("", &self.name));
        (folder, file.trim_end_matches(".wgsl"))
    }

    /// Every function, in order.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let code = self.code();
        let declared = positions(&code, "fn").filter_map(|at| {
            let (name, rest) = code[at + 2..].split_once('(')?;
            let end = closing(rest, '(', ')')?;
            let result = rest[end + 1..].split('{').next()?.trim();
            let types: Vec<&str> = parameters(&rest[..end]).map(type_of).collect();
            Some(Function { name: name.trim().to_owned(), signature: format!("({}) {result}", types.join(", ")) })
        });
        declared.collect()
    }

    /// Every buffer: its binding number and name.
    pub(crate) fn bindings(&self) -> Vec<(u32, String)> {
        let code = self.code();
        let declared = code.match_indices("@binding(").map(|(at, start)| {
            let rest = &code[at + start.len()..];
            let (number, rest) = rest.split_once(')').unwrap_or_default();
            let name = rest.split_once('>').map_or("", |(_, rest)| rest.split(':').next().unwrap_or_default());
            (number.parse().unwrap_or(u32::MAX), name.trim().to_owned())
        });
        declared.collect()
    }

    /// Text of a constant's value: `const NAME: TYPE = VALUE;`, the type optional.
    pub(crate) fn constant(&self, name: &str) -> Option<String> {
        let code = self.code();
        positions(&code, "const").find_map(|at| {
            let (head, rest) = code[at + "const".len()..].split_once('=')?;
            let known = head.split(':').next()?.trim();
            (known == name).then(|| rest.split(';').next().unwrap_or_default().trim().to_owned())
        })
    }

    /// Whether a function of this name is called, or declared, here.
    pub(crate) fn calls(&self, function: &str) -> bool {
        let code = self.code();
        positions(&code, function).any(|at| code[at + function.len()..].starts_with('('))
    }

    /// How often a word occurs.
    pub(crate) fn words(&self, word: &str) -> usize {
        words(&self.code(), word)
    }
}

/// How often a word occurs, as a whole.
pub(crate) fn words(code: &str, word: &str) -> usize {
    positions(code, word).count()
}

fn positions<'c>(code: &'c str, word: &'c str) -> impl Iterator<Item = usize> + 'c {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        !code[..at].chars().next_back().is_some_and(part) && !code[at + word.len()..].chars().next().is_some_and(part)
    })
}

/// Where the bracket that is open at the start closes.
fn closing(code: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 1;
    code.char_indices().find_map(|(at, c)| {
        depth += i32::from(c == open) - i32::from(c == close);
        (depth == 0).then_some(at)
    })
}

/// Between commas that are not inside brackets.
fn parameters(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let parts = list.split(move |c: char| {
        depth += i32::from("(<[".contains(c)) - i32::from(")>]".contains(c));
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|parameter| !parameter.is_empty())
}

fn type_of(parameter: &str) -> &str {
    parameter.rsplit_once(':').map_or(parameter, |(_, kind)| kind.trim())
}
