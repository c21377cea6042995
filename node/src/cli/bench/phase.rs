//! Requests under way, measured phase by phase without a gap between two: warm-up, then as many phases as a shape has, each at a rate of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::Bench;
use super::report::Report;
use super::run::{Loop, Run, Tally};
use super::usage::Counts;
use super::workload::Kind;
use crate::cli::exit::Failure;
use crate::cli::progress::{Progress, Step};

/// How often progress is looked at.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Requests that come until they are told to end.
pub(super) struct Requests<'a> {
    bench: &'a Bench,
    run: Arc<Run>,
    driver: JoinHandle<()>,
    how: Loop,
}

/// A phase that is over.
pub(super) struct Phase {
    workload: String,
    how: Loop,
    took: Duration,
    /// Its parts, in order.
    pub(super) windows: Vec<Window>,
    kinds: BTreeMap<Kind, Tally>,
    /// What the nodes told at its start and its end. Under overload they take their time, and the next phase does not wait for it.
    counts: [JoinHandle<Counts>; 2],
}

/// A part of a phase.
pub(super) struct Window {
    /// Since the start of the phase.
    pub(super) begun: Duration,
    pub(super) tally: Tally,
}

impl<'a> Requests<'a> {
    /// Has them come, and waits while the cluster warms up.
    pub(super) async fn warmed_up(bench: &'a Bench, how: Loop) -> Self {
        let run = Run::new(bench.records.clone());
        let driver = tokio::spawn(run.clone().drive(how));
        let requests = Self { bench, run, driver, how };
        sleep(bench.warm_up).await;
        requests
    }

    /// From now on so many come each second, which began as an open loop.
    pub(super) fn set_rate(&mut self, rate: f64) {
        self.how = Loop::Open(rate);
        self.run.set_rate(rate);
    }

    /// Measures for so long, as one window.
    pub(super) async fn measure(&self, time: Duration) -> Phase {
        self.measure_by(time, time).await
    }

    /// Measures for so long, in windows of this length.
    pub(super) async fn measure_by(&self, time: Duration, window: Duration) -> Phase {
        let mut progress = Progress::counting("measuring", "requests");
        let ask = || tokio::spawn(Counts::ask(self.bench.client.clone()));
        let before = ask();
        let (begun, ended_before) = (Instant::now(), self.run.ended.load(Ordering::Relaxed));
        // What ended before is not of this phase.
        self.run.take();
        let (mut windows, mut kinds) = (Vec::new(), BTreeMap::<Kind, Tally>::new());
        let (mut window_begun, mut next) = (Duration::ZERO, begun);
        while window_begun < time {
            let until = begun + (window_begun + window).min(time);
            next = (next + PROGRESS_INTERVAL).min(until);
            sleep_until(next).await;
            progress.show(Step {
                records: self.run.ended.load(Ordering::Relaxed) - ended_before,
                done: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                whole: u64::try_from(time.as_millis()).ok(),
            });
            if next == until {
                let (ended, mut tally) = (begun.elapsed(), Tally::default());
                for (kind, part) in self.run.take() {
                    tally.add(&part);
                    kinds.entry(kind).or_default().add(&part);
                }
                windows.push(Window { begun: window_begun, tally });
                window_begun = ended;
            }
        }
        progress.finish();
        let workload = self.bench.workload.name.clone();
        Phase { workload, how: self.how, took: window_begun, windows, kinds, counts: [before, ask()] }
    }

    /// Has no more come, and waits for those under way: how the first of these failed, if none succeeded.
    pub(super) async fn end(mut self) -> Result<Option<String>, Failure> {
        self.run.end();
        (&mut self.driver).await.map_err(|error| Failure::local(format!("the bench failed: {error}")))?;
        let mut late = Tally::default();
        self.run.take().values().for_each(|tally| late.add(tally));
        Ok(late.first_failure.filter(|_| late.latencies.is_empty()))
    }
}

/// Where a bench is given up, its requests must not go on: with a client that is closed they would fail without ever waiting.
impl Drop for Requests<'_> {
    fn drop(&mut self) {
        self.run.end();
    }
}

impl Phase {
    /// What it came to.
    pub(super) async fn report(self) -> Report {
        let [before, after] = self.counts;
        // A task is only lost with the whole runtime.
        let (before, after) = (before.await.unwrap_or_default(), after.await.unwrap_or_default());
        let Self { workload, how, took, kinds, .. } = self;
        Report { workload, how, took, kinds, cost: after.since(&before), memory: after.memory }
    }
}
