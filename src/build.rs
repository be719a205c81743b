//! Before the crate is compiled: takes the table of losses out of README.md, for the crate's own documentation. One table, shown in
//! both places; a test holds it against `LOSSES`.

use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=README.md");
    println!("cargo:rerun-if-changed=src/build.rs");
    let root = env::var_os("CARGO_MANIFEST_DIR").ok_or("run by cargo")?;
    let readme = fs::read_to_string(Path::new(&root).join("README.md"))?;
    let (_, losses) = readme.split_once("\n## Losses\n").ok_or("README.md: no section `Losses`")?;
    let mut table = String::from("| type | name | formula |\n|---|---|---|\n");
    for row in losses.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|')).skip(2)
    {
        // A `|` within a cell is written `\|`.
        let cells: Vec<&str> = row.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        let [name, type_name, _, formula, ..] = cells[..] else { return Err(format!("README.md: {row}").into()) };
        table.push_str(&format!("| [{type_name}] | {name} | {formula} |\n"));
    }
    let out = env::var_os("OUT_DIR").ok_or("run by cargo")?;
    Ok(fs::write(Path::new(&out).join("losses.md"), table)?)
}
