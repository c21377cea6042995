//! `quorate put` and `quorate delete`: write one key.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use quorate_client::{Bucket, Stored};
use quorate_ring::Key;
use quorate_ring::version::ContextToken;
use serde::Serialize;

use super::connect::{BucketArguments, ConnectArguments, failure};
use super::exit::{Failure, Format};
use super::human;
use super::json_lines::key_for_json;
use super::keys::{WriteArguments, key_parser, parse_context, read_value};
use super::output;

/// Writes a value under a key
#[derive(Debug, Args)]
#[command(
    after_help = "A write replaces exactly what its context covers. Without one it replaces nothing: what is there \
    already stays beside it, as a sibling. --replace reads first and replaces what that read finds."
)]
pub(crate) struct PutArguments {
    /// The key
    #[arg(value_parser = key_parser())]
    key: Key,
    /// The value: text, or - for standard input, or @FILE for a file
    #[arg(allow_hyphen_values = true)]
    value: OsString,
    /// The context of the read that this write replaces, as `get` prints it
    #[arg(long, value_name = "TEXT", value_parser = parse_context)]
    context: Option<ContextToken>,
    /// How long the value lives, such as 500ms, 30s, 5m, 12h or 7d (30 is 30 seconds), up to 3650d: then it is gone as if deleted
    /// [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = human::parse_ttl, allow_hyphen_values = true)]
    ttl: Option<Duration>,
    /// Read first, and replace what is there
    #[arg(long, conflicts_with = "context")]
    replace: bool,
    #[command(flatten)]
    write: WriteArguments,
    #[command(flatten)]
    bucket: BucketArguments,
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

/// Deletes what is stored under a key
#[derive(Debug, Args)]
#[command(
    after_help = "A delete removes exactly what its context covers. Without --context the key is read first, and what \
    that read finds is deleted."
)]
pub(crate) struct DeleteArguments {
    /// The key
    #[arg(value_parser = key_parser())]
    key: Key,
    /// The context of the read whose values are deleted, as `get` prints it
    #[arg(long, value_name = "TEXT", value_parser = parse_context)]
    context: Option<ContextToken>,
    #[command(flatten)]
    write: WriteArguments,
    #[command(flatten)]
    bucket: BucketArguments,
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

#[derive(Serialize)]
struct JsonStored<K: Serialize> {
    #[serde(flatten)]
    key: K,
    siblings: u32,
    context: Option<String>,
}

impl PutArguments {
    /// Runs the command.
    ///
    /// # Errors
    /// If the value cannot be read, or the write failed.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let value = read_value(self.value)?;
        let client = self.connect.connect().await?;
        let bucket = client.bucket(self.bucket.bucket.as_str()).map_err(|error| failure(&error))?;
        let stored = async {
            let context = if self.replace { Some(context_of(&bucket, &self.key).await?) } else { self.context };
            let mut put = bucket.put(self.key.as_bytes(), value.into_bytes()).context(context);
            if let Some(ttl) = self.ttl {
                put = put.ttl(ttl);
            }
            if let Some(w) = self.write.w {
                put = put.w(w);
            }
            if let Some(durability) = self.write.durability {
                put = put.durability(durability.into());
            }
            if self.write.strict {
                put = put.strict();
            }
            put.await.map_err(|error| failure(&error))
        };
        let stored = stored.await;
        client.close().await;
        print_stored("stored", &self.key, &stored?, self.connect.format())
    }
}

impl DeleteArguments {
    /// Runs the command.
    ///
    /// # Errors
    /// If the write failed.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.connect().await?;
        let bucket = client.bucket(self.bucket.bucket.as_str()).map_err(|error| failure(&error))?;
        let stored = async {
            let mut delete = bucket.delete(self.key.as_bytes()).context(self.context);
            if let Some(w) = self.write.w {
                delete = delete.w(w);
            }
            if let Some(durability) = self.write.durability {
                delete = delete.durability(durability.into());
            }
            if self.write.strict {
                delete = delete.strict();
            }
            delete.await.map_err(|error| failure(&error))
        };
        let stored = stored.await;
        client.close().await;
        print_stored("deleted", &self.key, &stored?, self.connect.format())
    }
}

async fn context_of(bucket: &Bucket, key: &Key) -> Result<ContextToken, Failure> {
    let found = bucket.get(key.as_bytes()).await.map_err(|error| failure(&error))?;
    Ok(found.context())
}

fn print_stored(done: &str, key: &Key, stored: &Stored, format: Format) -> Result<(), Failure> {
    let siblings = stored.siblings();
    match format {
        Format::Json => output::print_json(&JsonStored {
            key: key_for_json(key.as_bytes()),
            siblings,
            context: stored.context().as_ref().map(ContextToken::to_text),
        }),
        Format::Human => match (done, siblings) {
            ("stored", 0..=1) | ("deleted", 0) => output::print(&format!("{done}\n")),
            (_, siblings) => output::print(&format!(
                "{done}; the key has {siblings} values now, since others were written meanwhile or not covered by the context \
                 (`quorate get` shows them)\n"
            )),
        },
    }
}
