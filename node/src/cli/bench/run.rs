//! Runs a workload: in a closed loop, where so many clients each wait for their answer; or in an open one, where requests come at a fixed rate
//! whether or not others were answered.
//!
//! The rate may change while they come: [`Pace`] says when each is due.
//!
//! In the open loop a request's latency counts from when it was to begin. A cluster that stands still for a second meets all who would have asked
//! meanwhile, and a loop that waits for it would not count them ("coordinated omission", Gil Tene).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::pace::Pace;
use super::records::{Records, Wrong};
use super::workload::Kind;

/// Longest latency that is told apart from longer ones, in microseconds.
const MICROS_MAX: u64 = 120_000_000;
/// Latencies are exact to a thousandth.
const DIGITS: u8 = 3;
/// How often the open loop looks what is due, at most: looking costs more than a request does, on the cores that the nodes may share. The
/// runtime's own timers are exact to a millisecond, which is more than a request takes: a thread keeps this time.
const TICK: Duration = Duration::from_micros(250);
/// And at least, for the rate may have risen.
const TICK_MAX: Duration = Duration::from_millis(10);
/// Most requests of the open loop that are under way. What is due beyond that waits here, and its latency counts.
///
/// With tens of thousands of them, each of which is tried again when it is refused, this program would take more of the cores that it may share with the
/// nodes than they do, and write with contexts that are seconds old.
const UNDERWAY_MAX: usize = 4096;

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Loop {
    /// So many clients, each of which waits for its answer.
    Closed(u32),
    /// So many requests a second.
    Open(f64),
}

/// What the requests of one kind came to.
pub(super) struct Tally {
    /// Of those that succeeded, in microseconds.
    pub(super) latencies: Histogram<u64>,
    pub(super) failed: u64,
    /// How the first of those did.
    pub(super) first_failure: Option<String>,
}

/// A run under way, or over.
pub(super) struct Run {
    records: Arc<Records>,
    /// Ended since the start, of whatever kind.
    pub(super) ended: AtomicU64,
    is_over: AtomicBool,
    tallies: Mutex<BTreeMap<Kind, Tally>>,
    begun: Instant,
    /// Of the open loop.
    pace: Mutex<Pace>,
}

impl Default for Tally {
    fn default() -> Self {
        let latencies = Histogram::new_with_max(MICROS_MAX, DIGITS).expect("the bounds are valid");
        Self { latencies, failed: 0, first_failure: None }
    }
}

impl Tally {
    fn record(&mut self, took: Duration, result: &Result<(), Wrong>) {
        match result {
            Ok(()) => self.latencies.saturating_record(u64::try_from(took.as_micros()).unwrap_or(MICROS_MAX)),
            Err(wrong) => {
                self.failed += 1;
                self.first_failure.get_or_insert_with(|| wrong.to_string());
            }
        }
    }

    /// Takes in what another one has.
    pub(super) fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("all have the same bounds");
        self.failed += other.failed;
        self.first_failure = self.first_failure.take().or_else(|| other.first_failure.clone());
    }
}

impl Run {
    pub(super) fn new(records: Arc<Records>) -> Arc<Self> {
        Arc::new(Self {
            records,
            ended: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            tallies: Mutex::default(),
            begun: Instant::now(),
            pace: Mutex::default(),
        })
    }

    /// Begins no request any more.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// What has ended since the last time, by kind.
    pub(super) fn take(&self) -> BTreeMap<Kind, Tally> {
        std::mem::take(&mut self.tallies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks, until the run has ended and all is answered.
    pub(super) async fn drive(self: Arc<Self>, how: Loop) {
        match how {
            Loop::Closed(clients) => self.closed(clients).await,
            Loop::Open(rate) => {
                self.set_rate(rate);
                self.open().await;
            }
        }
    }

    /// From now on so many come each second, in the open loop.
    pub(super) fn set_rate(&self, rate: f64) {
        self.pace().change(self.begun.elapsed(), rate);
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    async fn closed(self: Arc<Self>, clients: u32) {
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let run = self.clone();
            tasks.spawn(async move {
                while !run.is_over() {
                    run.one(Instant::now()).await;
                }
            });
        }
        tasks.join_all().await;
    }

    async fn open(self: Arc<Self>) {
        let (mut due, mut tasks) = (self.begun.elapsed(), JoinSet::new());
        let (tick, next_due) = (Arc::new(Notify::new()), Arc::new(Mutex::new(due)));
        let (run, ticking, looked_for) = (self.clone(), tick.clone(), next_due.clone());
        let ticks = std::thread::spawn(move || {
            loop {
                let due = *looked_for.lock().unwrap_or_else(PoisonError::into_inner);
                std::thread::sleep(due.saturating_sub(run.begun.elapsed()).clamp(TICK, TICK_MAX));
                // Looked at before the tick and not after it: the run may end between the two, and then nobody would tick for who waits once more.
                let is_last = run.is_over();
                ticking.notify_one();
                if is_last {
                    break;
                }
            }
        });
        while !self.is_over() {
            tick.notified().await;
            while tasks.try_join_next().is_some() {}
            let now = self.begun.elapsed();
            while due <= now && tasks.len() < UNDERWAY_MAX {
                let (run, from) = (self.clone(), self.begun + due);
                tasks.spawn(async move { run.one(from).await });
                due = self.pace().next(due);
            }
            *next_due.lock().unwrap_or_else(PoisonError::into_inner) = due;
        }
        tasks.join_all().await;
        ticks.join().expect("it only sleeps");
    }

    /// One request, whose latency counts from then.
    async fn one(&self, from: Instant) {
        let request = self.records.draw();
        let kind = request.kind;
        let result = self.records.run(request).await;
        if result.is_err() {
            // What fails without waiting, as all do once the client is closed, would leave nobody else a turn.
            tokio::task::yield_now().await;
        }
        self.ended.fetch_add(1, Ordering::Relaxed);
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.entry(kind).or_default().record(from.elapsed(), &result);
    }
}
