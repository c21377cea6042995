//! `quorate scan`: lists the keys of a bucket in ring order, in pieces.

use std::str::FromStr;

use clap::Args;
use quorate_client::{Bucket, Cursor, Entry, Scan};
use quorate_ring::limits::SCAN_ITEMS_MAX;
use serde::Serialize;

use super::connect::{BucketArguments, ConnectArguments, failure};
use super::exit::{Failure, Format};
use super::json_lines::{key_for_json, value_for_json};
use super::output::{self, Reader};

/// Lists the keys of a bucket, in the order of the ring
#[derive(Debug, Args)]
#[command(
    after_help = "Without --limit the whole bucket is listed. With it, the cursor to go on from is printed last, on standard \
    error (with --json: as the last line); the end of the bucket has none."
)]
pub(crate) struct ScanArguments {
    /// How many keys to list
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Where to go on, as the scan before printed it
    #[arg(long, value_name = "TEXT", value_parser = Cursor::from_str)]
    cursor: Option<Cursor>,
    /// How many replicas must answer, 1 to n [default: the cluster's read_quorum]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..))]
    r: Option<u8>,
    #[command(flatten)]
    bucket: BucketArguments,
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

#[derive(Serialize)]
struct JsonEntry<K: Serialize, V: Serialize> {
    #[serde(flatten)]
    key: K,
    values: Vec<V>,
    context: String,
}

#[derive(Serialize)]
struct JsonEnd {
    cursor: Option<String>,
}

impl ScanArguments {
    /// Runs the command.
    ///
    /// # Errors
    /// If the cluster cannot be read.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.connect().await?;
        let bucket = client.bucket(self.bucket.bucket.as_str()).map_err(|error| failure(&error))?;
        let result = self.list(&bucket).await;
        client.close().await;
        self.tell_end(result?)
    }

    /// Prints keys until the end, the limit, or the reader's; gives where to go on, if there is anything there.
    async fn list(&self, bucket: &Bucket) -> Result<Option<Cursor>, Failure> {
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut scan = self.sized(bucket.scan(), left);
        if let Some(cursor) = &self.cursor {
            scan = scan.from(cursor.clone());
        }
        while let Some(page) = scan.next_page().await.map_err(|error| failure(&error))? {
            left -= page.entries.len() as u64;
            if self.print(&page.entries)? == Reader::Gone {
                return Ok(None);
            }
            match left {
                0 => return Ok(Some(page.cursor)),
                // Pages must not overshoot the limit, since a cursor stands between pages.
                1..=PAGE_ITEMS => scan = self.sized(scan, left).from(page.cursor),
                _ => {}
            }
        }
        Ok(None)
    }

    fn sized(&self, mut scan: Scan, left: u64) -> Scan {
        if let Some(r) = self.r {
            scan = scan.r(r);
        }
        scan.page_items(usize::try_from(left.min(PAGE_ITEMS)).expect("a page is small"))
    }

    fn print(&self, entries: &[Entry]) -> Result<Reader, Failure> {
        let mut lines = Vec::new();
        for entry in entries {
            match self.connect.format() {
                Format::Human => lines.extend_from_slice(entry.key()),
                Format::Json => serde_json::to_writer(&mut lines, &json(entry)).expect("strings can be written"),
            }
            lines.push(b'\n');
        }
        output::print_raw(&lines)
    }

    fn tell_end(&self, cursor: Option<Cursor>) -> Result<(), Failure> {
        match (self.connect.format(), self.limit, cursor) {
            (_, None, _) | (Format::Human, _, None) => Ok(()),
            (Format::Human, _, Some(cursor)) => {
                anstream::eprintln!("go on with --cursor {cursor}");
                Ok(())
            }
            (Format::Json, _, cursor) => {
                output::print_json(&JsonEnd { cursor: cursor.map(|cursor| cursor.to_string()) })
            }
        }
    }
}

/// Keys in one page: few enough to be told soon, many enough to cost little each.
const PAGE_ITEMS: u64 = 256;
const _: () = assert!(PAGE_ITEMS <= SCAN_ITEMS_MAX as u64, "a node gives a page of so many");

fn json(entry: &Entry) -> impl Serialize + '_ {
    JsonEntry {
        key: key_for_json(entry.key()),
        values: entry.found().values().iter().map(|value| value_for_json(value)).collect(),
        context: entry.found().context().to_text(),
    }
}
