//! Proves that the tables of losses in the README and in the crate's documentation, which is made from it, are the
//! crate's.

use deeploss::{LOSSES, LossInfo};

use crate::support::conformance::{DELIBERATE, Deliberate};
use crate::support::{ensure, root, table};

/// Cells of a Markdown table's row, as text: without backticks, brackets of links and escapes.
fn cells(line: &str) -> Option<Vec<String>> {
    let row = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let escaped = row.replace("\\|", "\u{1}");
    let cells =
        escaped.split('|').map(|cell| cell.replace('\u{1}', "|").replace(['`', '[', ']'], "").trim().to_owned());
    Some(cells.collect())
}

/// The columns with these headings, of the one table that has them all.
fn columns(text: &str, headings: &[&str]) -> Vec<Vec<String>> {
    let place = |line: &str| {
        let header = cells(line)?;
        headings.iter().map(|heading| header.iter().position(|cell| cell == heading)).collect::<Option<Vec<_>>>()
    };
    assert_eq!(text.lines().filter_map(place).count(), 1, "not one table with the columns {headings:?}");
    let mut lines = text.lines().skip_while(|line| place(line).is_none());
    let places = lines.next().and_then(place).unwrap_or_default();
    let rows = lines.skip(1).map_while(cells);
    rows.map(|row| places.iter().map(|&place| row.get(place).cloned().unwrap_or_default()).collect()).collect()
}

/// Row by row: each loss once, in the order of the crate's table, and nothing else.
fn compare(text: &str, headings: &[&str], expected: fn(&LossInfo) -> Vec<String>) {
    let found = columns(text, headings);
    table(|rows| {
        for (info, row) in LOSSES.iter().zip(&found) {
            let expected = expected(info);
            rows.row(info.name, ensure(*row == expected, || format!("{row:?}, expected {expected:?}")));
        }
        let (got, expected) = (found.len(), LOSSES.len());
        rows.row("number of rows", ensure(got == expected, || format!("{got} rows for {expected} losses")));
    });
}

#[test]
fn the_readme_has_every_loss_of_the_table_in_its_order() {
    compare(include_str!("../README.md"), &["name", "type", "PyTorch", "formula"], |info| {
        let pytorch = match info.pytorch.strip_prefix("torch.nn.") {
            Some(name) => name,
            None if info.pytorch.starts_with("torchvision.") => "torchvision's",
            None => "none",
        };
        [info.name, info.type_name, pytorch, info.formula].map(str::to_owned).into()
    });
}

#[test]
fn the_documentation_has_every_loss_of_the_table_in_its_order() {
    let generated = include_str!(concat!(env!("OUT_DIR"), "/losses.md"));
    compare(generated, &["type", "name", "formula"], |info| {
        [info.type_name, info.name, info.formula].map(str::to_owned).into()
    });
}

/// A row that is missing, twice, out of place or altered is seen.
#[test]
fn a_table_that_differs_is_noticed() {
    let text = "a table:\n\n| name | formula |\n|---|---|\n| `x` | `a \\| b` |\n| [`y`] | `c`, `d` |\n\nmore";
    let rows = [vec!["x".to_owned(), "a | b".to_owned()], vec!["y".to_owned(), "c, d".to_owned()]];
    assert_eq!(columns(text, &["name", "formula"]), rows);
    assert_eq!(columns(text, &["formula"]), [["a | b".to_owned()], ["c, d".to_owned()]]);
}

#[test]
fn every_deliberate_difference_from_pytorch_is_documented() {
    let readme = include_str!("../README.md");
    table(|rows| {
        for Deliberate { letter, reason, .. } in DELIBERATE {
            let documented = readme.contains(&format!("**{letter}.**"));
            rows.row(letter, ensure(documented, || format!("README.md does not say that {reason}")));
        }
    });
}

/// The table of limits, bad input and faults names tests that exist.
#[test]
fn what_the_documentation_says_is_tested_has_a_test() {
    let text = include_str!("../src/faults.md");
    let named = text.split('`').filter(|word| !word.contains(' ') && word.contains("::") && word.contains('_'));
    table(|rows| {
        for name in
            named.filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c)))
        {
            let (module, test) = name.split_once("::").unwrap_or_default();
            let file = std::fs::read_to_string(root().join("tests").join(format!("{module}.rs"))).unwrap_or_default();
            let exists = file.contains(&format!("#[test]\nfn {test}() {{"));
            rows.row(name, ensure(exists, || "there is no such test"));
        }
    });
}
