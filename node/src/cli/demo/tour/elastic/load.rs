//! The application that the elastic tour runs all the time: writes and reads at a steady pace, and remembers what was acknowledged.
//!
//! It does what an application that must have its records written does, which is what `quorate load` does: a write that surely did
//! nothing is sent again, and one of which nobody can know (its coordinator was killed) is read and then written again. Only what still
//! fails then is an error.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quorate_client::Bucket;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::super::records::{self, Digest, PATIENCE};
use crate::cli::exit::Failure;
use crate::cli::human;
use crate::cli::load::write::{Mode, WriteOptions, Writer, Written};

/// Writers, each of which writes a record, reads another one, and waits for its next turn.
const WORKERS: u64 = 8;
/// Time between two turns of a writer. All together 400 writes and 400 reads a second, which leave most of a small machine idle.
const PACE: Duration = Duration::from_millis(20);

/// The load, which ends when it is dropped.
pub(super) struct SteadyLoad {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

/// What all writers do together.
struct Shared {
    bucket: Bucket,
    written: Arc<Written>,
    stop: AtomicBool,
    errors: AtomicU64,
    first_error: Mutex<Option<String>>,
    /// The number of each record that was acknowledged, and the digest of its value.
    acknowledged: Mutex<Vec<(u64, Digest)>>,
    /// How long each operation of this step took, in microseconds.
    latencies: Mutex<Vec<u32>>,
    /// Writes that had been settled when this step began.
    settled_before: AtomicU64,
}

/// How the load fares, in one step of the tour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Figures {
    /// Operations in this step.
    pub(super) operations: u64,
    /// Operations that failed, since the load began.
    pub(super) errors: u64,
    /// The 99th percentile of the times of this step's operations.
    pub(super) p99: Duration,
    /// Writes of this step of which nobody could know, and which were read and written again.
    pub(super) settled: u64,
}

impl Figures {
    /// In a line.
    pub(super) fn told(&self) -> String {
        let (operations, errors, p99) =
            (human::count(self.operations), human::count(self.errors), human::duration(self.p99));
        let settled = match self.settled {
            0 => String::new(),
            settled => format!(", {} of unknown outcome settled", human::count(settled)),
        };
        format!("{operations} operations, {errors} errors{settled}, p99 {p99}")
    }
}

impl SteadyLoad {
    /// Begins, on a bucket of its own.
    pub(super) fn start(bucket: Bucket) -> Self {
        let shared = Arc::new(Shared {
            bucket,
            written: Arc::default(),
            stop: AtomicBool::new(false),
            errors: AtomicU64::new(0),
            first_error: Mutex::default(),
            acknowledged: Mutex::default(),
            latencies: Mutex::default(),
            settled_before: AtomicU64::new(0),
        });
        let mut workers = JoinSet::new();
        for worker in 0..WORKERS {
            workers.spawn(work(shared.clone(), worker));
        }
        Self { shared, workers }
    }

    /// From now on figures are of another step.
    pub(super) fn begin_step(&self) {
        lock(&self.shared.latencies).clear();
        let settled = self.shared.written.settled.load(Ordering::Relaxed);
        self.shared.settled_before.store(settled, Ordering::Relaxed);
    }

    /// How it fares.
    pub(super) fn figures(&self) -> Figures {
        let mut latencies = lock(&self.shared.latencies).clone();
        let place = latencies.len() * 99 / 100;
        let p99 = latencies.get(place).is_some().then(|| *latencies.select_nth_unstable(place).1);
        Figures {
            operations: latencies.len() as u64,
            errors: self.shared.errors.load(Ordering::Relaxed),
            p99: Duration::from_micros(p99.unwrap_or_default().into()),
            settled: self.shared.written.settled.load(Ordering::Relaxed)
                - self.shared.settled_before.load(Ordering::Relaxed),
        }
    }

    /// What went wrong first, if anything did.
    pub(super) fn first_error(&self) -> Option<String> {
        lock(&self.shared.first_error).clone()
    }

    /// Waits until all that was begun has ended, and gives what was acknowledged.
    pub(super) async fn finish(mut self) -> Vec<(u64, Digest)> {
        self.shared.stop.store(true, Ordering::Relaxed);
        while self.workers.join_next().await.is_some() {}
        std::mem::take(&mut *lock(&self.shared.acknowledged))
    }
}

async fn work(shared: Arc<Shared>, worker: u64) {
    let options = WriteOptions { mode: Mode::New, w: Some(2), durability: None, strict: false, patience: PATIENCE };
    let writer = Writer::new(shared.bucket.clone(), options, shared.written.clone());
    let mut turns = interval(PACE);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in (worker..).step_by(WORKERS as usize) {
        turns.tick().await;
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        shared.write(&writer, number).await;
        shared.read(number).await;
    }
}

impl Shared {
    async fn write(&self, writer: &Writer, number: u64) {
        let begun = Instant::now();
        let digest = records::digest_of(number, 1);
        match writer.write(records::batch(number..number + 1, 1)).await {
            Ok(()) => lock(&self.acknowledged).push((number, digest)),
            Err(Failure { message, .. }) => self.note_error(message),
        }
        self.note_time(begun);
    }

    /// Reads a record that was acknowledged before, another one for each number.
    async fn read(&self, number: u64) {
        let wanted = {
            let acknowledged = lock(&self.acknowledged);
            let place = number.wrapping_mul(0x9e37_79b9) as usize % acknowledged.len().max(1);
            acknowledged.get(place).copied()
        };
        let Some((number, digest)) = wanted else { return };
        let begun = Instant::now();
        let key = records::key_of(number);
        match self.bucket.get(&key).r(2).await {
            Ok(found) if records::is_right(&found, digest) => {}
            Ok(found) => {
                self.note_error(format!("{key} was acknowledged, and {} other values are read", found.values().len()))
            }
            Err(error) => self.note_error(format!("cannot read {key}: {error}")),
        }
        self.note_time(begun);
    }

    fn note_time(&self, begun: Instant) {
        lock(&self.latencies).push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
    }

    fn note_error(&self, error: String) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        lock(&self.first_error).get_or_insert(error);
    }
}

/// A writer that panicked ends the demo anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
