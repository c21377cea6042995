//! Storing the records before anything is asked of them, as fast as it goes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_client::{Bucket, Error, GetMany, PutMany};
use quorate_ring::limits::BATCH_BYTES_MAX;
use quorate_ring::version::ContextToken;
use serde::Serialize;
use tokio::task::JoinSet;

use super::Bench;
use super::records::{Quorums, Records, key};
use super::usage::{Cost, Counts};
use crate::cli::connect::failure;
use crate::cli::exit::Failure;
use crate::cli::human;
use crate::cli::progress::{Progress, Step};

/// Records in one request, at most.
const BATCH: u64 = 256;
/// Requests under way at the same time.
const LOADERS: usize = 8;

/// What the loading came to, where it is what is measured.
pub(super) struct Loaded {
    records: u64,
    bytes: u64,
    took: Duration,
    cost: Cost<f64>,
}

#[derive(Serialize)]
struct JsonLoaded {
    shape: &'static str,
    records: u64,
    bytes: u64,
    seconds: f64,
    rate: f64,
    bytes_per_second: f64,
    #[serde(flatten)]
    cost: Cost<f64>,
}

/// Stores all records.
///
/// # Errors
/// If one cannot be stored.
pub(super) async fn load(bench: &Bench) -> Result<(), Failure> {
    let mut progress = Progress::start("loading");
    let count = bench.workload.records;
    let batch = (BATCH_BYTES_MAX as u64 / (bench.workload.value_bytes as u64 + 1)).clamp(1, BATCH);
    let mut batches =
        (0..count).step_by(usize::try_from(batch).expect("64 bits")).map(|from| from..(from + batch).min(count));
    let (mut tasks, mut stored) = (JoinSet::new(), 0);
    loop {
        while tasks.len() < LOADERS
            && let Some(range) = batches.next()
        {
            tasks.spawn(store(bench.bucket.clone(), bench.records.clone(), bench.quorums, range));
        }
        let Some(done) = tasks.join_next().await else { break };
        stored += done.expect("a task of the load does not panic")?;
        progress.show(Step { records: stored, done: stored, whole: Some(count) });
    }
    progress.finish();
    Ok(())
}

/// Stores some records in one request, and says how many. What an earlier bench left of them is replaced.
async fn store(
    bucket: Bucket,
    records: Arc<Records>,
    quorums: Quorums,
    range: std::ops::Range<u64>,
) -> Result<u64, Failure> {
    let count = range.end - range.start;
    let stored = async {
        let beside = put(&bucket, &records, quorums, range.map(|record| (record, None)).collect()).await?;
        if !beside.is_empty() {
            let gets = quorums.r.into_iter().fold(bucket.get_many(beside.iter().copied().map(key)), GetMany::r);
            let found = if quorums.strict { gets.strict() } else { gets }.await;
            let contexts = found.into_iter().map(|found| found.map(|found| Some(found.context())));
            let contexts = contexts.collect::<Result<Vec<_>, _>>()?;
            put(&bucket, &records, quorums, beside.into_iter().zip(contexts).collect()).await?;
        }
        Ok(count)
    };
    stored
        .await
        .map_err(|error: Error| failure(&error).help("the records of a bench must all be stored before it begins"))
}

/// Writes records with these contexts, and gives those of which other values are beside the one written.
async fn put(
    bucket: &Bucket,
    records: &Records,
    quorums: Quorums,
    writes: Vec<(u64, Option<ContextToken>)>,
) -> Result<Vec<u64>, Error> {
    let numbers: Vec<u64> = writes.iter().map(|(record, _)| *record).collect();
    let puts = bucket.put_many(records.batch(writes));
    let puts = quorums.w.into_iter().fold(puts, PutMany::w);
    let puts = quorums.durability.into_iter().fold(puts, PutMany::durability);
    let results = if quorums.strict { puts.strict() } else { puts }.await;
    let mut beside = Vec::new();
    for (record, result) in numbers.into_iter().zip(results) {
        let stored = result?;
        if 1 < stored.siblings() {
            beside.push(record);
        }
        records.note_context(record, stored.context());
    }
    Ok(beside)
}

impl Loaded {
    /// Stores all records, and measures it.
    ///
    /// # Errors
    /// If one cannot be stored.
    pub(super) async fn measure(bench: &Bench) -> Result<Self, Failure> {
        let before = Counts::ask(bench.client.clone()).await;
        let begun = Instant::now();
        load(bench).await?;
        let took = begun.elapsed();
        let after = Counts::ask(bench.client.clone()).await;
        let records = bench.workload.records;
        let bytes = records * bench.workload.value_bytes as u64;
        Ok(Self { records, bytes, took, cost: after.since(&before).each(records) })
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.took.as_secs_f64()
    }

    pub(super) fn describe(&self) -> String {
        format!(
            "{} records stored in {}: {} a second, {} of values a second\n{}",
            human::count(self.records),
            human::duration(self.took),
            human::count(self.per_second(self.records).round() as u64),
            human::bytes(self.per_second(self.bytes).round() as u64),
            self.cost.describe()
        )
    }

    pub(super) fn json(&self) -> impl Serialize {
        JsonLoaded {
            shape: "load",
            records: self.records,
            bytes: self.bytes,
            seconds: self.took.as_secs_f64(),
            rate: self.per_second(self.records),
            bytes_per_second: self.per_second(self.bytes),
            cost: self.cost,
        }
    }
}
