//! Loading the demo's records, and checking every one.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use quorate_client::{Bucket, ContextToken, Error, Found, Write};
use quorate_ring::{Key, Value};
use tokio::task::JoinSet;
use xxhash_rust::xxh3::xxh3_64;

use super::super::records::record;
use super::super::tell::Teller;
use super::PACKAGES;
use crate::cli::connect::failure;
use crate::cli::exit::Failure;
use crate::cli::human;
use crate::cli::json_lines::Record;
use crate::cli::load::Numbered;
use crate::cli::load::write::{Mode, WriteOptions, Writer, Written};
use crate::cli::progress::{Progress, Step};

/// Records in one request.
const BATCH: u64 = 256;
/// Requests under way at the same time.
const CONCURRENCY: usize = 8;
/// How long one record may keep failing before the demo gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// How often progress is looked at.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// What a value is recognised by: its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest(u64);

/// The digest of a record's value.
pub(super) fn digest_of(number: u64, edition: u64) -> Digest {
    Digest(xxh3_64(record(number, edition).value.as_bytes()))
}

/// Whether a key has values, and each of them is the one with this digest.
pub(super) fn is_right(found: &Found, digest: Digest) -> bool {
    !found.is_empty() && found.values().iter().all(|value| Digest(xxh3_64(value)) == digest)
}

/// What reading all records showed.
pub(super) struct Check {
    records: u64,
    right: u64,
    failed: u64,
    /// Records with the right value more than once, and the context to write it once.
    doubled: Vec<(u64, ContextToken)>,
    first_error: Option<String>,
    took: Duration,
}

impl Check {
    /// Whether each record was read, with no value but the right one.
    pub(super) fn all_right(&self) -> bool {
        self.right == self.records
    }

    /// Records that have the right value more than once.
    pub(super) fn doubled(&self) -> &[(u64, ContextToken)] {
        &self.doubled
    }

    fn add(&mut self, number: u64, result: Result<Found, Error>, wanted: Digest) {
        match result {
            Ok(found) if !is_right(&found, wanted) => {}
            Ok(found) => {
                self.right += 1;
                if 1 < found.values().len() {
                    self.doubled.push((number, found.context()));
                }
            }
            Err(error) => {
                self.failed += 1;
                self.first_error.get_or_insert(error.to_string());
            }
        }
    }

    /// The figures.
    pub(super) fn told(&self) -> String {
        let rate = human::count(human::rate(self.records, self.took));
        let wrong = self.records - self.right - self.failed;
        let mut told = format!("{} of {} right, {rate} reads/s", human::count(self.right), human::count(self.records));
        if !self.doubled.is_empty() {
            told += &format!(", {} of them twice", human::count(self.doubled.len() as u64));
        }
        if 0 < wrong {
            told += &format!(", {} with another value", human::count(wrong));
        }
        if let Some(error) = &self.first_error {
            told += &format!(", {} failed ({error})", human::count(self.failed));
        }
        told
    }
}

/// The first load, into an empty bucket.
pub(super) async fn load_first(teller: &mut Teller, packages: &Bucket, records: u64) -> Result<(), Failure> {
    teller.command(&format!("quorate load --bucket {PACKAGES} --mode new packages.jsonl"))?;
    let written = Arc::new(Written::default());
    let took = store(packages, records, 1, Mode::New, &written).await?;
    let stored = written.records.load(Ordering::Relaxed);
    let bytes = written.bytes.load(Ordering::Relaxed);
    let rate = human::count(human::rate(stored, took));
    let told =
        format!("{} ({}) in {}, {rate} writes/s", human::count(stored), human::bytes(bytes), human::duration(took));
    teller.promise("records are stored", stored == records, told)
}

/// Writes all records of an edition, trying again what may be tried again.
pub(super) async fn store(
    packages: &Bucket,
    records: u64,
    edition: u64,
    mode: Mode,
    written: &Arc<Written>,
) -> Result<Duration, Failure> {
    let options = WriteOptions { mode, w: Some(2), durability: None, strict: false, patience: PATIENCE };
    let writer = Writer::new(packages.clone(), options, written.clone());
    let mut progress = Progress::start("loading");
    let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
    let mut batches =
        (0..records).step_by(BATCH as usize).map(|first| batch(first..records.min(first + BATCH), edition));
    let mut under_way = JoinSet::new();
    loop {
        while under_way.len() < CONCURRENCY {
            let Some(batch) = batches.next() else { break };
            let writer = writer.clone();
            under_way.spawn(async move { writer.write(batch).await });
        }
        tokio::select! {
            joined = under_way.join_next() => match joined {
                Some(joined) => joined.expect("a writer does not panic")?,
                None => break,
            },
            _ = ticks.tick() => {
                let done = written.records.load(Ordering::Relaxed);
                progress.show(Step { records: done, done, whole: Some(records) });
            }
        }
    }
    progress.finish();
    Ok(progress.elapsed())
}

/// Reads all records of an edition with this R, and checks each.
pub(super) async fn verify(packages: &Bucket, records: u64, edition: u64, r: u8) -> Result<Check, Failure> {
    let wanted: Vec<_> = (0..records).map(|number| (number, digest_of(number, edition))).collect();
    verify_these(packages, &wanted, r).await
}

/// Reads the records of these numbers with this R, and checks each by the digest of its value.
pub(super) async fn verify_these(bucket: &Bucket, wanted: &[(u64, Digest)], r: u8) -> Result<Check, Failure> {
    let begun = Instant::now();
    let mut progress = Progress::start("reading");
    let records = wanted.len() as u64;
    let mut check =
        Check { records, right: 0, failed: 0, doubled: Vec::new(), first_error: None, took: Duration::ZERO };
    let mut done = 0;
    for wanted in wanted.chunks(BATCH as usize * CONCURRENCY) {
        let results = bucket.get_many(wanted.iter().map(|(number, _)| key_of(*number))).r(r).await;
        for ((number, digest), result) in wanted.iter().zip(results) {
            check.add(*number, result, *digest);
        }
        done += wanted.len() as u64;
        progress.show(Step { records: done, done, whole: Some(records) });
    }
    progress.finish();
    check.took = begun.elapsed();
    Ok(check)
}

/// Writes records that have the right value twice once, in place of both.
pub(super) async fn merge(packages: &Bucket, doubled: &[(u64, ContextToken)], edition: u64) -> Result<(), Failure> {
    let write = |(number, context): &(u64, ContextToken)| {
        let record = record(*number, edition);
        Write::new(record.key, record.value).context(context.clone())
    };
    let results = packages.put_many(doubled.iter().map(write)).await;
    results.into_iter().try_for_each(|result| result.map(|_| ()).map_err(|error| failure(&error)))
}

/// Records, to be written.
pub(super) fn batch(numbers: Range<u64>, edition: u64) -> Vec<Numbered> {
    let numbered = |number| {
        let (key, value) = pair(number, edition);
        Numbered { line: number + 1, record: Record { key, values: vec![value] } }
    };
    numbers.map(numbered).collect()
}

fn pair(number: u64, edition: u64) -> (Key, Value) {
    let record = record(number, edition);
    let key = Key::new(record.key).expect("the demo's keys are short");
    (key, Value::new(record.value).expect("the demo's values are small"))
}

/// The key of a record, as text.
pub(super) fn key_of(number: u64) -> String {
    record(number, 1).key
}
