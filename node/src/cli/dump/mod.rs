//! `quorate dump`: writes a bucket as JSON Lines, to standard output or a file.
//!
//! Where the lines go, and what happens to what is there already, is [`sink`]'s business.

mod sink;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use quorate_client::{Client, Cursor, Entry};
use quorate_ring::{Key, Value};
use serde::Serialize;

use self::sink::Sink;
use super::connect::{BucketArguments, ConnectArguments, failure};
use super::exit::{Failure, Format};
use super::human;
use super::interrupt::unless_interrupted;
use super::json_lines::Record;
use super::load::FORMAT_HELP;
use super::output::{self, Reader};
use super::progress::{Progress, Step};

/// Writes a bucket as JSON Lines
#[derive(Debug, Args)]
#[command(after_help = FORMAT_HELP)]
pub(crate) struct DumpArguments {
    /// The file to write, compressed if its name ends with .gz [default: standard output]. What it held is replaced when all is
    /// written, and not before; a device or FIFO is written to directly
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How many replicas must answer, 1 to n [default: the cluster's read_quorum]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..))]
    r: Option<u8>,
    #[command(flatten)]
    bucket: BucketArguments,
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

#[derive(Serialize)]
struct JsonSummary {
    records: u64,
    bytes: u64,
    siblings: u64,
    millis: u128,
}

/// What was written so far.
#[derive(Default)]
struct Dumped {
    records: u64,
    bytes: u64,
    siblings: u64,
}

impl DumpArguments {
    /// Runs the command.
    ///
    /// # Errors
    /// If the cluster cannot be read, or the file cannot be written.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut sink = Sink::open(self.out.as_deref())?;
        let client = match self.connect.connect().await {
            Ok(client) => client,
            Err(failure) => {
                sink.abandon();
                return Err(failure);
            }
        };
        let mut progress = Progress::start("dumping");
        let mut dumped = Dumped::default();
        let copied = self.copy(&client, &mut sink, &mut dumped, &mut progress);
        let result = unless_interrupted(copied, "the dump is not whole").await;
        progress.finish();
        client.close().await;
        match result {
            Ok(Reader::Listening) => sink.finish()?,
            Ok(Reader::Gone) => return Ok(()),
            Err(failure) => {
                sink.abandon();
                return Err(failure);
            }
        }
        self.summarise(&dumped, progress.elapsed())
    }

    async fn copy(
        &self,
        client: &Client,
        sink: &mut Sink,
        dumped: &mut Dumped,
        progress: &mut Progress,
    ) -> Result<Reader, Failure> {
        let bucket = client.bucket(self.bucket.bucket.as_str()).map_err(|error| failure(&error))?;
        let partitions = u64::from(client.known_ring().partitions.get());
        let mut scan = bucket.scan();
        if let Some(r) = self.r {
            scan = scan.r(r);
        }
        let mut line = Vec::new();
        while let Some(page) = scan.next_page().await.map_err(|error| failure(&error))? {
            line.clear();
            for entry in &page.entries {
                dumped.records += 1;
                dumped.siblings += u64::from(1 < entry.found().values().len());
                record(entry).write(&mut line);
            }
            dumped.bytes += line.len() as u64;
            if sink.write(&line)? == Reader::Gone {
                return Ok(Reader::Gone);
            }
            let done = partitions_done(&page.cursor);
            progress.show(Step { records: dumped.records, done, whole: Some(partitions) });
        }
        Ok(Reader::Listening)
    }

    /// On standard error if standard output has the lines.
    fn summarise(&self, dumped: &Dumped, time: Duration) -> Result<(), Failure> {
        let Dumped { records, bytes, siblings } = *dumped;
        let text = match self.connect.format() {
            Format::Json => {
                let summary = JsonSummary { records, bytes, siblings, millis: time.as_millis() };
                serde_json::to_string(&summary).expect("numbers can be written") + "\n"
            }
            Format::Human => format!(
                "dumped {} records ({}) in {}: {} records/s; {} have siblings\n",
                human::count(records),
                human::bytes(bytes),
                human::duration(time),
                human::count(human::rate(records, time)),
                human::count(siblings)
            ),
        };
        match &self.out {
            Some(_) => output::print(&text),
            None => {
                anstream::eprint!("{text}");
                Ok(())
            }
        }
    }
}

fn record(entry: &Entry) -> Record {
    let value = |bytes: &bytes::Bytes| Value::new(bytes.clone()).expect("it came as a value");
    Record {
        key: Key::new(entry.key().to_vec()).expect("it came as a key"),
        values: entry.found().values().iter().map(value).collect(),
    }
}

/// How many partitions lie before a cursor; its text, whose form is stable, says in which one it is.
fn partitions_done(cursor: &Cursor) -> u64 {
    cursor.to_string().split(':').nth(2).and_then(|partition| partition.parse().ok()).unwrap_or_default()
}
