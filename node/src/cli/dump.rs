//! `quorate dump`: writes a bucket as JSON Lines, to standard output or a file.
//!
//! A file appears under its name only when it is whole: it is written beside it, synced and then renamed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use quorate_client::{Client, Cursor, Entry};
use quorate_ring::{Key, Value};
use serde::Serialize;

use super::connect::{BucketArguments, ConnectArguments, failure};
use super::exit::{Failure, Format};
use super::human;
use super::json_lines::Record;
use super::load::FORMAT_HELP;
use super::output::{self, Reader, written};
use super::progress::{Progress, Step};

const BUFFER_BYTES: usize = 256 * 1024;

/// Writes a bucket as JSON Lines
#[derive(Debug, Args)]
#[command(after_help = FORMAT_HELP)]
pub(crate) struct DumpArguments {
    /// The file to write, compressed if its name ends with .gz [default: standard output]
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

/// Where lines go.
enum Sink {
    Output(BufWriter<io::Stdout>),
    Plain { file: BufWriter<File>, paths: Paths },
    Gzip { file: Box<GzEncoder<BufWriter<File>>>, paths: Paths },
}

struct Paths {
    name: PathBuf,
    unfinished: PathBuf,
}

impl DumpArguments {
    /// Runs the command.
    ///
    /// # Errors
    /// If the cluster cannot be read, or the file cannot be written.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.connect().await?;
        let mut sink = Sink::open(self.out.as_deref())?;
        let mut progress = Progress::start("dumping");
        let mut dumped = Dumped::default();
        let result = self.copy(&client, &mut sink, &mut dumped, &mut progress).await;
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

impl Sink {
    fn open(out: Option<&Path>) -> Result<Self, Failure> {
        let Some(name) = out else { return Ok(Self::Output(BufWriter::with_capacity(BUFFER_BYTES, io::stdout()))) };
        let mut unfinished = name.as_os_str().to_owned();
        unfinished.push(".unfinished");
        let paths = Paths { name: name.to_owned(), unfinished: unfinished.into() };
        let file =
            File::create(&paths.unfinished).map_err(|error| Failure::file("write", &paths.unfinished, &error))?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        if name.extension().is_some_and(|extension| extension == "gz") {
            let file = Box::new(GzEncoder::new(file, Compression::default()));
            return Ok(Self::Gzip { file, paths });
        }
        Ok(Self::Plain { file, paths })
    }

    fn write(&mut self, lines: &[u8]) -> Result<Reader, Failure> {
        match self {
            Self::Output(output) => written(output.write_all(lines), Path::new("standard output")),
            Self::Plain { file, paths } => written(file.write_all(lines), &paths.name),
            Self::Gzip { file, paths } => written(file.write_all(lines), &paths.name),
        }
    }

    /// Brings everything where it belongs.
    fn finish(self) -> Result<(), Failure> {
        let (file, paths) = match self {
            Self::Output(mut output) => return written(output.flush(), Path::new("standard output")).map(|_| ()),
            Self::Plain { file, paths } => (Ok(file), paths),
            Self::Gzip { file, paths } => (file.finish(), paths),
        };
        let synced = file.and_then(|file| file.into_inner().map_err(io::IntoInnerError::into_error));
        let renamed = synced.and_then(|file| file.sync_all()).and_then(|()| fs::rename(&paths.unfinished, &paths.name));
        renamed.map_err(|error| Failure::file("write", &paths.name, &error))
    }

    /// Leaves nothing behind.
    fn abandon(self) {
        if let Self::Plain { paths, .. } | Self::Gzip { paths, .. } = self {
            // What matters is that nothing stands under the file's name; the rest is tidiness.
            let _ = fs::remove_file(paths.unfinished);
        }
    }
}
