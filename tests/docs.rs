//! Proves that the README's table of losses is the crate's.

use deeploss::LOSSES;

#[test]
fn the_readme_names_every_loss() {
    let readme = include_str!("../README.md");
    let missing: Vec<&str> =
        LOSSES.iter().flat_map(|loss| [loss.name, loss.type_name]).filter(|name| !readme.contains(*name)).collect();
    assert!(missing.is_empty(), "README.md does not mention {missing:?}");
}
