//! Printing to standard output so that a reader that goes away (`| head`) ends the command quietly and not with a panic: Rust
//! ignores SIGPIPE, so every write has to be looked at.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::exit::Failure;

/// Whether the output's reader is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Go on.
    Listening,
    /// It closed its end: nothing more is wanted, and that is no failure.
    Gone,
}

/// Sorts the result of a write: a reader that went away is no failure.
///
/// # Errors
/// Every other failure to write.
pub(crate) fn written(result: io::Result<()>, to: &Path) -> Result<Reader, Failure> {
    match result {
        Ok(()) => Ok(Reader::Listening),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::file("write", to, &error)),
    }
}

/// Prints text for people, with colours where the terminal has them.
///
/// # Errors
/// If standard output cannot be written, unless its reader went away.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()), Path::new("standard output")).map(|_| ())
}

/// Prints bytes as they are.
///
/// # Errors
/// As [`print()`].
pub(crate) fn print_raw(bytes: &[u8]) -> Result<Reader, Failure> {
    let mut out = io::stdout().lock();
    written(out.write_all(bytes).and_then(|()| out.flush()), Path::new("standard output"))
}

/// Prints a value as one line of JSON.
///
/// # Errors
/// As [`print()`].
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(value).map_err(|error| Failure::local(format!("cannot write JSON: {error}")))?;
    line.push(b'\n');
    print_raw(&line).map(|_| ())
}
