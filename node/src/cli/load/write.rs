//! The writing side of `load`: one batch at a time, with the retries that are safe.
//!
//! A write that surely did nothing is sent again as it was. One whose outcome is unknown is not: doing it twice could bring back
//! what somebody else has replaced in between. Instead the key is read anew and written with that read's context, which replaces
//! the first write if it is there after all; should it turn up only later, on a node that was away, both values are kept and are
//! the same. That needs a mode that may replace; in [`Mode::Add`] an unknown outcome ends the load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::ValueEnum;
use quorate_client::{Bucket, Error, Outcome, Stored, Write};
use quorate_ring::version::ContextToken;
use quorate_ring::wire::Durability;

use super::read::Numbered;
use crate::cli::connect;
use crate::cli::exit::Failure;
use crate::cli::json_lines::Record;

/// The first pause before a failed item is tried again; doubled each time.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What happens to what is already stored under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Read each key first and replace what is there: loading the same file twice leaves one value per key
    Replace,
    /// Do not read first, for keys that hold nothing yet: faster; what is there after all becomes a sibling
    New,
    /// Add each value beside what is there, as a sibling; a write with an unknown outcome ends the load
    Add,
}

/// How records are written.
#[derive(Clone, Debug)]
pub(crate) struct WriteOptions {
    /// What happens to what is there.
    pub(crate) mode: Mode,
    /// W, or the cluster's default.
    pub(crate) w: Option<u8>,
    /// Where each write must be to count, or the cluster's default.
    pub(crate) durability: Option<Durability>,
    /// Whether nobody may stand in for a primary.
    pub(crate) strict: bool,
    /// How long one record may keep failing before the load gives up.
    pub(crate) patience: Duration,
}

/// What was done so far, by all writers together.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// Records that are stored.
    pub(crate) records: AtomicU64,
    /// Bytes of their keys and values.
    pub(crate) bytes: AtomicU64,
    /// Attempts that failed without changing anything and were made again.
    pub(crate) retried: AtomicU64,
    /// Writes with an unknown outcome that were settled by reading and writing again.
    pub(crate) settled: AtomicU64,
}

/// Writes batches into a bucket.
#[derive(Clone)]
pub(crate) struct Writer {
    bucket: Bucket,
    options: WriteOptions,
    written: Arc<Written>,
}

/// A record that is not stored yet.
struct Pending {
    numbered: Numbered,
    knows: Knows,
}

/// What is known of what a record's key holds.
enum Knows {
    /// Nothing: it must be read.
    Nothing,
    /// All that the write may replace; `None` to replace nothing.
    Context(Option<ContextToken>),
}

impl Writer {
    /// A writer that counts what it does in `written`.
    pub(crate) fn new(bucket: Bucket, options: WriteOptions, written: Arc<Written>) -> Self {
        Self { bucket, options, written }
    }

    /// Stores a batch of records of distinct keys, trying again what failed and may be tried again.
    ///
    /// # Errors
    /// The first record that cannot be stored, by its line, and why.
    pub(crate) async fn write(&self, batch: Vec<Numbered>) -> Result<(), Failure> {
        let knows = || match self.options.mode {
            Mode::Replace => Knows::Nothing,
            Mode::New | Mode::Add => Knows::Context(None),
        };
        let mut pending: Vec<_> = batch.into_iter().map(|numbered| Pending { numbered, knows: knows() }).collect();
        let give_up = Instant::now() + self.options.patience;
        let mut pause = PAUSE_FIRST;
        loop {
            let mut failed = self.read_contexts(&mut pending).await?;
            failed = self.put_known(&mut pending).await?.or(failed);
            let (Some((line, error)), false) = (failed, pending.is_empty()) else { return Ok(()) };
            if give_up <= Instant::now() {
                return Err(given_up(line, &error));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Reads the keys of which nothing is known. Gives one that failed and may be tried again, if any did.
    async fn read_contexts(&self, pending: &mut [Pending]) -> Result<Option<(u64, Error)>, Failure> {
        let mut unread: Vec<_> = pending.iter_mut().filter(|pending| matches!(pending.knows, Knows::Nothing)).collect();
        if unread.is_empty() {
            return Ok(None);
        }
        let keys = unread.iter().map(|pending| pending.numbered.record.key.as_bytes());
        let read = self.bucket.get_many(keys).await;
        let mut failed = None;
        for (pending, found) in unread.iter_mut().zip(read) {
            match found {
                Ok(found) => pending.knows = Knows::Context(Some(found.context())),
                Err(error) => failed = Some(self.again(pending.numbered.line, error)?),
            }
        }
        Ok(failed)
    }

    /// Writes the records of which enough is known, and keeps those that failed. Gives one of them, if any did.
    async fn put_known(&self, pending: &mut Vec<Pending>) -> Result<Option<(u64, Error)>, Failure> {
        let (known, mut left): (Vec<_>, Vec<_>) =
            pending.drain(..).partition(|pending| matches!(pending.knows, Knows::Context(_)));
        let items = known.iter().map(|pending| {
            let record = &pending.numbered.record;
            let Knows::Context(context) = &pending.knows else { unreachable!("just parted by it") };
            write_of(record, 0).context(context.clone())
        });
        let results = self.put_many(items).await;
        let mut failed = None;
        for (mut record, result) in known.into_iter().zip(results) {
            let result = match result {
                Ok(_) => self.put_siblings(&record.numbered).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(()) => self.count(&record.numbered),
                Err(error) => {
                    // Part of the record may be there, and its context is used up.
                    if error.outcome() == Outcome::Unknown || 1 < record.numbered.record.values.len() {
                        record.knows = Knows::Nothing;
                    }
                    failed = Some(self.again(record.numbered.line, error)?);
                    left.push(record);
                }
            }
        }
        *pending = left;
        Ok(failed)
    }

    /// Adds all values of a record but the first beside it.
    async fn put_siblings(&self, numbered: &Numbered) -> Result<(), Error> {
        let record = &numbered.record;
        let others = (1..record.values.len()).map(|index| write_of(record, index));
        for result in self.put_many(others).await {
            result?;
        }
        Ok(())
    }

    async fn put_many(&self, writes: impl Iterator<Item = Write>) -> Vec<Result<Stored, Error>> {
        let mut put = self.bucket.put_many(writes);
        if let Some(w) = self.options.w {
            put = put.w(w);
        }
        if let Some(durability) = self.options.durability {
            put = put.durability(durability);
        }
        if self.options.strict {
            put = put.strict();
        }
        put.await
    }

    fn count(&self, numbered: &Numbered) {
        let record = &numbered.record;
        let bytes =
            record.key.as_bytes().len() + record.values.iter().map(|value| value.as_bytes().len()).sum::<usize>();
        self.written.records.fetch_add(1, Ordering::Relaxed);
        self.written.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a failure that may be tried again; any other is the load's.
    fn again(&self, line: u64, error: Error) -> Result<(u64, Error), Failure> {
        let unknown = error.outcome() == Outcome::Unknown;
        if !error.is_transient() || (unknown && self.options.mode == Mode::Add) {
            return Err(given_up(line, &error));
        }
        let counter = if unknown { &self.written.settled } else { &self.written.retried };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok((line, error))
    }
}

fn write_of(record: &Record, index: usize) -> Write {
    Write::new(Bytes::copy_from_slice(record.key.as_bytes()), record.values[index].as_bytes().clone())
}

fn given_up(line: u64, error: &Error) -> Failure {
    let failure = connect::failure(error);
    Failure { message: format!("the record of line {line} cannot be stored: {}", failure.message), ..failure }
}
