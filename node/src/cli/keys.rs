//! Keys, values, contexts and quorums as they are typed.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};
use quorate_ring::limits::VALUE_BYTES_MAX;
use quorate_ring::version::ContextToken;
use quorate_ring::{Key, Value, wire};

use super::exit::Failure;

/// Reads a key: its bytes exactly as typed.
pub(crate) fn key_parser() -> impl TypedValueParser<Value = Key> {
    OsStringValueParser::new().try_map(|typed| Key::new(typed.into_vec()))
}

/// Reads a context as `get` prints it.
pub(crate) fn parse_context(text: &str) -> Result<ContextToken, String> {
    ContextToken::from_text(text).map_err(|error| error.to_string())
}

/// How many replicas must have stored a write, and where.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Write")]
pub(crate) struct WriteArguments {
    /// How many replicas must have stored it, 1 to n [default: the cluster's write_quorum]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) w: Option<u8>,
    /// Where it must be to count as stored [default: the cluster's]
    #[arg(long, value_name = "WHERE")]
    pub(crate) durability: Option<DurabilityArgument>,
    /// Let nobody stand in for a primary that is away: fail rather than write to fewer than w of them
    #[arg(long)]
    pub(crate) strict: bool,
}

/// [`wire::Durability`] as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DurabilityArgument {
    /// In the write-ahead log, handed to the operating system, on disk soon
    Buffered,
    /// On the disk
    Synced,
}

impl From<DurabilityArgument> for wire::Durability {
    fn from(typed: DurabilityArgument) -> Self {
        match typed {
            DurabilityArgument::Buffered => Self::Buffered,
            DurabilityArgument::Synced => Self::Synced,
        }
    }
}

/// Reads a value: the text itself, `-` for standard input, `@FILE` for a file.
///
/// # Errors
/// If it cannot be read, or is too large.
pub(crate) fn read_value(typed: OsString) -> Result<Value, Failure> {
    let bytes = match typed.as_bytes() {
        b"-" => read_all(Path::new("standard input"), std::io::stdin())?,
        [b'@', name @ ..] => {
            let path = Path::new(std::ffi::OsStr::from_bytes(name));
            read_all(path, fs::File::open(path).map_err(|error| Failure::file("read", path, &error))?)?
        }
        _ => typed.into_vec(),
    };
    Value::new(bytes)
        .map_err(|error| Failure::invalid(error).help("split it, and store the parts under keys of their own"))
}

/// Reads no further than needed to know that it is too large.
fn read_all(name: &Path, source: impl Read) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = source.take(VALUE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::file("read", name, &error))?;
    Ok(bytes)
}
