//! The zoo: bugs planted one at a time in a copy of the core, to learn whether the simulator would have found them.
//!
//! An oracle that never fails shows nothing. Each file of `simulation/zoo` is an edit of a line or two, of the kind people make, with what
//! it breaks ([`entry`]). For each, the command copies the workspace's sources, edits the copy (`scratch`), builds it, and runs seeds
//! until one fails that passes without the edit (`hunt`). What comes out is a table: found by which oracle, after how many seeds and
//! seconds ([`report`]).
//!
//! An edit whose text is no longer in its file exactly once is an error: a bug that is not planted would pass for one that is not found.
//!
//! This module works with files, processes and the clock of the machine. Nothing of a simulated run does.

pub mod entry;
mod hunt;
pub mod report;
mod scratch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::entry::Entry;
use self::hunt::{Hunted, Pace};
use self::report::{Report, Row};
use self::scratch::Scratch;

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where the workspace is whose core is edited.
    pub root: PathBuf,
    /// Where it is copied to and built. Kept from one time to the next, so that only what was edited is built anew.
    pub scratch: PathBuf,
    /// Which bugs; none means all.
    pub names: Vec<String>,
    /// After how many seeds a bug counts as not found.
    pub seeds: u64,
}

/// The most seeds after which a bug is not found, unless it is said otherwise: some two minutes.
pub const SEEDS_DEFAULT: u64 = 20_000;

impl Options {
    /// All bugs, in the workspace that this program was built from, beside what it was built to.
    pub fn new() -> Self {
        let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let built = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.parent()?.to_owned()));
        let scratch = built.unwrap_or_else(std::env::temp_dir).join("zoo");
        Self { root, scratch, names: Vec::new(), seeds: SEEDS_DEFAULT }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// Why the zoo could not be run. What was not found is no error: it is in the [`Report`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A bug's file says something else than it should.
    #[error("{path}: {reason}")]
    Entry {
        /// Which.
        path: PathBuf,
        /// What is wrong, with its line.
        reason: String,
    },
    /// An edit cannot be made.
    #[error("the bug {bug} cannot be planted: its text is {times} times in {file}, and must be there once:\n{find}")]
    NotThere {
        /// Which bug.
        bug: String,
        /// In which file.
        file: PathBuf,
        /// How often its text is there.
        times: usize,
        /// The text.
        find: String,
    },
    /// There is no such bug.
    #[error("there is no planted bug named {name:?}; the nearest are {nearest}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What may have been meant.
        nearest: String,
    },
    /// A program cannot be run.
    #[error("{program} cannot be run: {source}")]
    Process {
        /// Which.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A copy does not build.
    #[error("the core does not build with {planted}:\n{output}")]
    Build {
        /// What was planted.
        planted: String,
        /// What the compiler said.
        output: String,
    },
}

/// Reads every planted bug and checks that it can still be planted. Builds nothing.
///
/// # Errors
/// The first bug whose file is wrong, or whose edit cannot be made.
pub fn check(root: &Path) -> Result<Vec<Entry>, Error> {
    let entries = entry::all(root)?;
    for entry in &entries {
        scratch::planted(root, entry)?;
    }
    Ok(entries)
}

/// Plants each bug and hunts it; `shown` is told each row as soon as it is known.
///
/// # Errors
/// What kept the zoo from being run, as [`Error`].
pub fn run(options: &Options, mut shown: impl FnMut(&Row)) -> Result<Report, Error> {
    let entries = entry::chosen(check(&options.root)?, &options.names)?;
    let mut scratch = Scratch::open(&options.root, &options.scratch)?;
    let pace = Pace::of(&scratch.clean_program())?;
    let mut report = Report::default();
    for entry in &entries {
        // One edit that has to be written anew does not keep the others from being looked at.
        let (built, refused) = match scratch.plant(entry) {
            Ok(built) => (built, None),
            Err(Error::Build { output, .. }) => (Duration::ZERO, Some(output)),
            Err(error) => return Err(error),
        };
        let planted = scratch.planted_program();
        let hunted = match refused {
            None => hunt::hunt(&planted, &scratch.clean_program(), options.seeds, pace)?,
            Some(_) => Hunted::default(),
        };
        let mut scenarios = Vec::new();
        for name in entry.scenarios.iter().filter(|_| refused.is_none()) {
            scenarios.push((name.clone(), hunt::fails(&planted, name, pace)?));
        }
        let row = Row {
            name: entry.name.clone(),
            title: entry.title.clone(),
            built,
            took: hunted.took,
            catch: hunted.catch,
            scenarios,
            refused,
            seeds: options.seeds,
        };
        report.unplanted.extend(hunted.unplanted);
        shown(&row);
        report.rows.push(row);
    }
    Ok(report)
}
