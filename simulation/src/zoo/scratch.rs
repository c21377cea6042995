//! A copy of the workspace's sources, in which bugs are planted one at a time.
//!
//! There is one copy and one directory that it is built to, and a file is written only if it differs: so one more bug costs the build of
//! one crate and those above it, a few seconds. The dev profile is used: it builds incrementally, some thirty times as fast as the
//! release profile, and runs more than half as fast.

#![expect(clippy::disallowed_methods, reason = "copies files, runs the compiler, and measures how long that takes")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::Error;
use super::entry::Entry;

/// The program that is built, and run.
const PROGRAM: &str = "quorate-sim";

/// A copy of the workspace.
pub(super) struct Scratch {
    root: PathBuf,
    directory: PathBuf,
    /// The file that differs from the original, if one does.
    edited: Option<String>,
}

impl Scratch {
    /// Copies the sources of the workspace at `root`, and builds the program as it is.
    pub(super) fn open(root: &Path, directory: &Path) -> Result<Self, Error> {
        let scratch = Self { root: root.to_owned(), directory: directory.to_owned(), edited: None };
        copy_workspace(root, &scratch.sources())?;
        scratch.build("nothing planted")?;
        let (built, kept) = (scratch.planted_program(), scratch.clean_program());
        std::fs::copy(&built, kept).map_err(|source| Error::File { path: built, source })?;
        Ok(scratch)
    }

    /// Plants a bug in place of the last one. Gives how long the build took.
    pub(super) fn plant(&mut self, entry: &Entry) -> Result<Duration, Error> {
        if let Some(file) = self.edited.take() {
            let original = read(&self.root.join(&file))?;
            write_if_different(&self.sources().join(&file), &original)?;
        }
        write_if_different(&self.sources().join(&entry.file), planted(&self.root, entry)?.as_bytes())?;
        self.edited = Some(entry.file.clone());
        let began = Instant::now();
        self.build(&entry.name)?;
        Ok(began.elapsed())
    }

    /// The program with the bug.
    pub(super) fn planted_program(&self) -> PathBuf {
        self.directory.join("target/debug").join(PROGRAM)
    }

    /// The program without.
    pub(super) fn clean_program(&self) -> PathBuf {
        self.directory.join(format!("{PROGRAM}-clean"))
    }

    fn sources(&self) -> PathBuf {
        self.directory.join("sources")
    }

    fn build(&self, planted: &str) -> Result<(), Error> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let output = Command::new(&cargo)
            .args(["build", "--locked", "-p", "quorate-simulation", "--bin", PROGRAM])
            .current_dir(self.sources())
            .env("CARGO_TARGET_DIR", self.directory.join("target"))
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("RUSTFLAGS", "-Awarnings") // A planted bug may well leave a name unused.
            .output()
            .map_err(|source| Error::Process { program: cargo.to_string_lossy().into_owned(), source })?;
        if output.status.success() {
            return Ok(());
        }
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Error::Build { planted: planted.to_owned(), output })
    }
}

/// A file's text with the bug planted in it.
///
/// # Errors
/// [`Error::NotThere`] unless the text that is to be replaced is there exactly once.
pub(super) fn planted(root: &Path, entry: &Entry) -> Result<String, Error> {
    let path = root.join(&entry.file);
    let text = std::fs::read_to_string(&path).map_err(|source| Error::File { path, source })?;
    let times = text.matches(&entry.find).count();
    if times != 1 {
        let (bug, file, find) = (entry.name.clone(), PathBuf::from(&entry.file), entry.find.clone());
        return Err(Error::NotThere { bug, file, times, find });
    }
    Ok(text.replacen(&entry.find, &entry.replace, 1))
}

/// Copies what Cargo needs: the root's two files, and every member.
fn copy_workspace(root: &Path, target: &Path) -> Result<(), Error> {
    for file in ["Cargo.toml", "Cargo.lock"] {
        write_if_different(&target.join(file), &read(&root.join(file))?)?;
    }
    for name in names(root)? {
        let member = root.join(&name);
        if member.join("Cargo.toml").is_file() {
            copy_directory(&member, &target.join(&name))?;
        }
    }
    Ok(())
}

/// Makes `target` hold what `source` does, and no more: a file that has moved must not stay where it was.
fn copy_directory(source: &Path, target: &Path) -> Result<(), Error> {
    create_directory(target)?;
    let wanted = names(source)?;
    for gone in names(target)?.difference(&wanted) {
        let path = target.join(gone);
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.map_err(|source| Error::File { path, source })?;
    }
    for name in wanted {
        let (from, to) = (source.join(&name), target.join(&name));
        match from.is_dir() {
            true if name == "target" => {} // Built things, where a member is built by itself.
            true => copy_directory(&from, &to)?,
            false => write_if_different(&to, &read(&from)?)?,
        }
    }
    Ok(())
}

fn names(directory: &Path) -> Result<BTreeSet<OsString>, Error> {
    let failed = |source| Error::File { path: directory.to_owned(), source };
    let entries = std::fs::read_dir(directory).map_err(failed)?;
    entries.map(|entry| Ok(entry.map_err(failed)?.file_name())).collect()
}

fn create_directory(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// Leaves a file's time as it is where nothing changes, so that it is not built anew.
fn write_if_different(path: &Path, content: &[u8]) -> Result<(), Error> {
    if std::fs::read(path).is_ok_and(|known| known == content) {
        return Ok(());
    }
    path.parent().map_or(Ok(()), create_directory)?;
    std::fs::write(path, content).map_err(|source| Error::File { path: path.to_owned(), source })
}
