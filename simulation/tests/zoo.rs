//! The zoo of planted bugs is kept true: each can still be planted, and the README tells of each. Whether each is found is for
//! `quorate-sim zoo` to say, which builds the core once for each.

#![expect(clippy::disallowed_methods, reason = "reads the README")]

use std::path::Path;

use quorate_simulation::zoo;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[test]
fn every_planted_bug_still_applies() {
    let entries = zoo::check(Path::new(ROOT)).unwrap_or_else(|error| panic!("{error}"));
    assert!(40 <= entries.len(), "{} planted bugs", entries.len());
}

#[test]
fn the_readme_has_a_row_for_every_planted_bug() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("there is one");
    let rows: Vec<&str> = readme.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    for entry in zoo::check(Path::new(ROOT)).unwrap_or_else(|error| panic!("{error}")) {
        assert!(rows.contains(&entry.name.as_str()), "{} is not in the table", entry.name);
    }
}
