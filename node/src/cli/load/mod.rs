//! `quorate load`: stores a file of JSON Lines.
//!
//! One thread reads and parses (`read`); several writers, each with its own share of the keys, store batches (`write`). The
//! queues between them are short, so that memory does not grow with the file.

mod read;
pub(crate) mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use quorate_ring::limits::BATCH_ITEMS_MAX;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

pub(crate) use self::read::Numbered;
use self::read::{BadLines, Input, ReadSummary, deal};
use self::write::{Mode, WriteOptions, Writer, Written};
use super::connect::{BucketArguments, ConnectArguments, failure};
use super::exit::{Failure, Format};
use super::interrupt::unless_interrupted;
use super::keys::WriteArguments;
use super::progress::{Progress, Step};
use super::{human, output};

/// Batches that wait for each writer: one is enough to keep it busy.
const QUEUE_BATCHES: usize = 1;
/// How often progress is looked at.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// What the lines look like, for the help of `load` and `dump`.
pub(crate) const FORMAT_HELP: &str = "\
Each line is a JSON object:
  {\"key\":\"cart:7\",\"value\":{\"items\":[1,2]}}      stored is exactly the JSON text after \"value\":
  {\"key\":\"note\",\"value_text\":\"plain text\"}      for values that are text but no JSON
  {\"key_base64\":\"AP8=\",\"value_base64\":\"iVBO\"}   for keys and values that are no text
  {\"key\":\"cart:9\",\"siblings\":[{\"value\":1},{\"value\":2}]}";

/// Stores a file of JSON Lines, plain or gzip
#[derive(Debug, Args)]
#[command(after_help = FORMAT_HELP)]
pub(crate) struct LoadArguments {
    /// The file; - is standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// What happens to what is already stored under a key
    #[arg(long, value_enum, default_value = "replace")]
    mode: Mode,
    /// Count and skip lines that cannot be read, instead of stopping at the first
    #[arg(long)]
    skip_bad: bool,
    /// Records in one request at most
    #[arg(long, value_name = "NUMBER", default_value_t = 256, value_parser = batch_size)]
    batch: usize,
    /// Requests under way at the same time
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// How long a record may keep failing before the load gives up, as 500ms, 5s or 2m (5 is 5 seconds)
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = human::parse_duration, allow_hyphen_values = true)]
    patience: Duration,
    #[command(flatten)]
    write: WriteArguments,
    #[command(flatten)]
    bucket: BucketArguments,
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

#[derive(Serialize)]
struct JsonSummary {
    records: u64,
    bytes: u64,
    skipped: u64,
    retried: u64,
    settled: u64,
    millis: u128,
}

impl LoadArguments {
    /// Runs the command.
    ///
    /// # Errors
    /// If the input cannot be read, or a record cannot be stored.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let input = Input::open(&self.file)?;
        let client = self.connect.connect().await?;
        let bucket = client.bucket(self.bucket.bucket.as_str()).map_err(|error| failure(&error))?;
        let options = WriteOptions {
            mode: self.mode,
            w: self.write.w,
            durability: self.write.durability.map(Into::into),
            strict: self.write.strict,
            patience: self.patience,
        };
        let written = Arc::new(Written::default());
        let mut progress = Progress::start("loading");
        let writer = Writer::new(bucket, options, written.clone());
        let pumped = self.pump(input, &writer, &written, &mut progress);
        let result = unless_interrupted(pumped, "what was counted is stored, and perhaps some records more").await;
        progress.finish();
        client.close().await;
        let skipped = result.as_ref().map_or(0, |read| read.skipped);
        self.summarise(&written, skipped, progress.elapsed())?;
        result.map(|_| ())
    }

    /// Reads and writes until the input ends or something fails. What failed first is what is told.
    async fn pump(
        &self,
        input: Input,
        writer: &Writer,
        written: &Arc<Written>,
        progress: &mut Progress,
    ) -> Result<ReadSummary, Failure> {
        let bad_lines = if self.skip_bad { BadLines::Skip } else { BadLines::Refuse };
        let (consumed, bytes) = (input.consumed.clone(), input.bytes);
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..self.concurrency).map(|_| mpsc::channel(QUEUE_BATCHES)).unzip();
        let writers: JoinSet<_> = receivers.into_iter().map(|receiver| write_all(writer.clone(), receiver)).collect();
        let batch = self.batch;
        let reader = tokio::task::spawn_blocking(move || deal(input, bad_lines, batch, &senders));
        let show = || {
            progress.show(Step {
                records: written.records.load(Ordering::Relaxed),
                done: consumed.load(Ordering::Relaxed),
                whole: bytes,
            });
        };
        joined(reader, writers, show).await
    }

    fn summarise(&self, written: &Written, skipped: u64, time: Duration) -> Result<(), Failure> {
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let (records, bytes) = (load(&written.records), load(&written.bytes));
        let (retried, settled) = (load(&written.retried), load(&written.settled));
        if self.connect.format() == Format::Json {
            let millis = time.as_millis();
            return output::print_json(&JsonSummary { records, bytes, skipped, retried, settled, millis });
        }
        let mut text = format!(
            "stored {} records ({}) in {}: {} records/s, {}/s\n",
            human::count(records),
            human::bytes(bytes),
            human::duration(time),
            human::count(human::rate(records, time)),
            human::bytes(human::rate(bytes, time))
        );
        if 0 < retried + settled {
            text += &format!("{} attempts were made again, {settled} after an unknown outcome\n", retried + settled);
        }
        if 0 < skipped {
            text += &format!("bad lines skipped: {}\n", human::count(skipped));
        }
        output::print(&text)
    }
}

/// Waits for the reader and all writers, or for the first failure among them.
///
/// When the reader fails its queues end, and so do writers that have nothing to do: whichever of them is seen first, what is told
/// is the reader's failure.
async fn joined(
    mut reader: JoinHandle<Result<ReadSummary, Failure>>,
    mut writers: JoinSet<Result<(), Failure>>,
    mut show: impl FnMut(),
) -> Result<ReadSummary, Failure> {
    let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
    let mut read = None;
    while read.is_none() || !writers.is_empty() {
        tokio::select! {
            joined = &mut reader, if read.is_none() => read = Some(joined.expect("the reader does not panic")?),
            Some(joined) = writers.join_next() => joined.expect("a writer does not panic")?,
            _ = ticks.tick() => show(),
        }
    }
    Ok(read.expect("that is what was waited for"))
}

/// Writes batches until there are no more.
async fn write_all(writer: Writer, mut batches: mpsc::Receiver<Vec<Numbered>>) -> Result<(), Failure> {
    while let Some(batch) = batches.recv().await {
        writer.write(batch).await?;
    }
    Ok(())
}

fn batch_size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| (1..=BATCH_ITEMS_MAX).contains(size));
    size.ok_or_else(|| format!("expected a number from 1 to {BATCH_ITEMS_MAX}, not {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_readers_failure_is_told_though_all_writers_are_seen_to_end_before_it() {
        let (seen, writers_are_seen) = tokio::sync::oneshot::channel();
        let reader = tokio::spawn(async {
            writers_are_seen.await.expect("they are seen");
            Err(Failure::invalid("the input is truncated"))
        });
        let mut writers = JoinSet::new();
        writers.spawn(async { Ok(()) });
        let mut seen = Some(seen);
        let mut ticks = 0;
        let joined = joined(reader, writers, || {
            ticks += 1;
            // The writer has ended long before the second.
            if 1 < ticks {
                let _ = seen.take().map(|seen| seen.send(()));
            }
        });
        assert_eq!(joined.await.expect_err("the reader failed").message, "the input is truncated");
    }
}
