//! `quorate get`: prints what is stored under a key.

use std::io::IsTerminal;

use clap::Args;
use quorate_client::Found;
use quorate_ring::Key;
use serde::Serialize;

use super::connect::{BucketArguments, ConnectArguments, failure};
use super::exit::{Failure, FailureKind, Format};
use super::json_lines::{key_for_json, value_for_json};
use super::keys::key_parser;
use super::output;

/// Prints the value of a key, exactly as it is stored
#[derive(Debug, Args)]
#[command(
    after_help = "If the key has siblings, all are printed, each under a line on standard error; write with the context \
    that is shown to replace them."
)]
pub(crate) struct GetArguments {
    /// The key
    #[arg(value_parser = key_parser())]
    key: Key,
    /// How many replicas must answer, 1 to n [default: the cluster's read_quorum]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..))]
    r: Option<u8>,
    /// Let nobody stand in for a primary that is away: fail rather than read from fewer than r of them
    #[arg(long)]
    strict: bool,
    /// Read from all its primaries, and answer when those that are behind have stored what they lack
    #[arg(long, conflicts_with_all = ["r", "strict"])]
    repaired: bool,
    #[command(flatten)]
    bucket: BucketArguments,
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

#[derive(Serialize)]
struct JsonFound<'a, K: Serialize, V: Serialize> {
    #[serde(flatten)]
    key: K,
    values: Vec<V>,
    context: &'a str,
}

impl GetArguments {
    /// Runs the command.
    ///
    /// # Errors
    /// If nothing is stored under the key, or the read failed.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.connect().await?;
        let bucket = client.bucket(self.bucket.bucket.as_str()).map_err(|error| failure(&error))?;
        let mut get = bucket.get(self.key.as_bytes());
        if let Some(r) = self.r {
            get = get.r(r);
        }
        if self.strict {
            get = get.strict();
        }
        if self.repaired {
            get = get.repaired();
        }
        let found = get.await.map_err(|error| failure(&error));
        client.close().await;
        self.print(&found?)
    }

    fn print(&self, found: &Found) -> Result<(), Failure> {
        let context = found.context().to_text();
        match self.connect.format() {
            Format::Json => output::print_json(&JsonFound {
                key: key_for_json(self.key.as_bytes()),
                values: found.values().iter().map(|value| value_for_json(value)).collect(),
                context: &context,
            })?,
            Format::Human => print_values(found, &context)?,
        }
        if found.values().is_empty() {
            let message = format!("nothing is stored under {:?} in bucket {:?}", self.key, self.bucket.bucket);
            return Err(Failure::new(FailureKind::NotFound, message));
        }
        Ok(())
    }
}

fn print_values(found: &Found, context: &str) -> Result<(), Failure> {
    match found.values() {
        [] => Ok(()),
        [value] => {
            output::print_raw(value)?;
            // For the eye only: what is piped on has not a byte more than the value.
            let unfinished = std::io::stdout().is_terminal() && value.last() != Some(&b'\n');
            if unfinished { output::print("\n") } else { Ok(()) }
        }
        siblings => {
            let count = siblings.len();
            for (index, value) in siblings.iter().enumerate() {
                anstream::eprintln!("sibling {} of {count}, {} bytes:", index + 1, value.len());
                output::print_raw(value)?;
                output::print_raw(b"\n")?;
            }
            anstream::eprintln!("to replace all {count}, put with --context {context}");
            Ok(())
        }
    }
}
