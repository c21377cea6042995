//! A planted bug, as its file tells it.
//!
//! ```toml
//! title = "The quorum is one short"
//! breaks = "R replicas must answer a read, and W must have stored a write"
//! file = "node/src/coordinator/tally.rs"
//! find = "if needed <= done "
//! replace = "if needed <= done + 1 "
//! ```

#![expect(clippy::disallowed_methods, reason = "the zoo is files")]

use std::path::Path;

use serde::Deserialize;

use super::Error;
use crate::catalogue::nearest;

/// Where the files are, in the workspace.
pub const DIRECTORY: &str = "simulation/zoo";

/// An edit of the core that makes it wrong.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its file's name.
    #[serde(skip)]
    pub name: String,
    /// What is wrong, in a line.
    pub title: String,
    /// Which rule it breaks, and which published bug it is in the line of, if there is one.
    pub breaks: String,
    /// The file that is edited, from the workspace's root.
    pub file: String,
    /// The text that is replaced, which is in the file exactly once.
    pub find: String,
    /// What it is replaced by.
    pub replace: String,
    /// The named scenarios that are there to prevent it: each must fail.
    #[serde(default)]
    pub scenarios: Vec<String>,
}

/// Every planted bug, by name.
///
/// # Errors
/// A file that cannot be read, or says something else than it should.
pub fn all(root: &Path) -> Result<Vec<Entry>, Error> {
    let directory = root.join(DIRECTORY);
    let failed = |source| Error::File { path: directory.clone(), source };
    let mut entries = Vec::new();
    for file in std::fs::read_dir(&directory).map_err(failed)? {
        let path = file.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            entries.push(read(&path)?);
        }
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

fn read(path: &Path) -> Result<Entry, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let wrong = |reason: String| Error::Entry { path: path.to_owned(), reason };
    let entry: Entry = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if entry.find.is_empty() || entry.find == entry.replace {
        return Err(wrong("it edits nothing".to_owned()));
    }
    Ok(Entry { name, ..entry })
}

/// Those of these names; all if there are none.
///
/// # Errors
/// [`Error::Unknown`] if there is none of a name.
pub fn chosen(all: Vec<Entry>, names: &[String]) -> Result<Vec<Entry>, Error> {
    if names.is_empty() {
        return Ok(all);
    }
    let find = |name: &String| {
        let unknown = || Error::Unknown {
            name: name.clone(),
            nearest: nearest(name, all.iter().map(|entry| entry.name.as_str())).join(", "),
        };
        all.iter().find(|entry| entry.name == *name).cloned().ok_or_else(unknown)
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Entry {
        let text = "title = 't'\nbreaks = 'b'\nfile = 'f'\nfind = 'x'\nreplace = 'y'";
        Entry { name: name.to_owned(), ..toml::from_str(text).expect("valid") }
    }

    #[test]
    fn the_nearest_names_are_suggested() {
        let all: Vec<Entry> = ["dot-reuse", "hedge", "quorum", "quorum-read"].map(named).into();
        match chosen(all.clone(), &["qorum".to_owned()]) {
            Err(Error::Unknown { nearest, .. }) => assert!(nearest.starts_with("quorum, "), "{nearest}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(chosen(all, &["hedge".to_owned()]).expect("known"), [named("hedge")]);
    }
}
