//! `campaign`: many seeds on several threads. It fails if a seed does, and if it did not meet what it is there to meet: a kind of fault
//! that never fired, something that should sometimes happen and never did, or too many runs whose losses were excused.

mod progress;
mod totals;
mod verdict;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};
use quorate_simulation::Trace;

use self::progress::Progress;
use self::totals::Totals;
use crate::input::{self, Kinds, WrongInput};
use crate::screen::{self, COMMAND, Styled};
use crate::trial;

/// Runs many seeds.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("bound").required(true).multiple(true).args(["seeds", "seconds"])))]
pub(crate) struct Campaign {
    /// How many seeds
    #[arg(long, value_name = "N", value_parser = input::count)]
    seeds: Option<u64>,
    /// The first of them; 0 if their number is given, a fresh random one if only the time is
    #[arg(long, value_name = "N", value_parser = input::seed)]
    first: Option<u64>,
    /// For how many seconds
    #[arg(long, value_name = "T", value_parser = input::seconds)]
    seconds: Option<Duration>,
    #[command(flatten)]
    kinds: Kinds,
    /// Stop at the first seed that fails
    #[arg(long)]
    stop_at_first: bool,
    /// On how many threads; as many as there are cores if it is left out
    #[arg(long, value_name = "K", value_parser = input::count)]
    threads: Option<u64>,
}

/// How many seeds a thread runs before it tells of them.
const BATCH_SEEDS: u64 = 16;
/// How often a campaign looks at the clock.
const TICK: Duration = Duration::from_millis(100);

/// What the threads share.
struct Work {
    next: AtomicU64,
    end: u64,
    stop: AtomicBool,
}

impl Campaign {
    /// Runs it.
    pub(crate) fn run(self) -> Result<ExitCode, WrongInput> {
        let first = self.first_seed()?;
        let end = self.seeds.map_or(u64::MAX, |seeds| first.saturating_add(seeds));
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let threads = self.threads.unwrap_or_else(cores).min(end - first);
        screen::line(format_args!("seeds from {first}, on {threads} threads"));
        let work = Work { next: AtomicU64::new(first), end, stop: AtomicBool::new(false) };
        let began = Instant::now();
        let totals = std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            for _ in 0..threads {
                let (sender, work, kinds) = (sender.clone(), &work, &self.kinds);
                scope.spawn(move || run_batches(work, kinds, &sender));
            }
            drop(sender);
            self.collect(&work, &receiver, began)
        });
        let seconds = began.elapsed().as_secs_f64();
        let holds = verdict::tell(&totals, &self.kinds, first, seconds);
        Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn first_seed(&self) -> Result<u64, WrongInput> {
        match (self.first, self.seeds) {
            (Some(first), _) => Ok(first),
            (None, Some(_)) => Ok(0),
            (None, None) => fresh_seed(),
        }
    }

    fn collect(&self, work: &Work, results: &Receiver<Totals>, began: Instant) -> Totals {
        let mut totals = Totals::default();
        let mut progress = Progress::start(self.seeds, self.seconds, began);
        loop {
            match results.recv_timeout(TICK) {
                Ok(batch) => {
                    for (seed, what) in &batch.failures {
                        progress.aside(|| tell_failure(*seed, what, &self.kinds));
                    }
                    if self.stop_at_first && 0 < batch.failed {
                        work.stop.store(true, Ordering::Relaxed);
                    }
                    totals.add(batch);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.seconds.is_some_and(|seconds| seconds <= began.elapsed()) {
                work.stop.store(true, Ordering::Relaxed);
            }
            progress.show(&totals);
        }
        progress.end();
        totals
    }
}

/// A failed seed is told at once, on a line of its own that programs read too.
fn tell_failure(seed: u64, what: &str, kinds: &Kinds) {
    screen::line(format_args!("seed {seed}: {what}"));
    screen::line(format_args!("  repeat with {}", Styled(COMMAND, kinds.repeat(seed))));
}

fn run_batches(work: &Work, kinds: &Kinds, results: &Sender<Totals>) {
    while !work.stop.load(Ordering::Relaxed) {
        let first = work.next.fetch_add(BATCH_SEEDS, Ordering::Relaxed);
        let end = first.saturating_add(BATCH_SEEDS).min(work.end);
        if end <= first {
            return;
        }
        let mut batch = Totals::default();
        for seed in first..end {
            let failed = batch.note(seed, &trial::run(kinds.plan(seed), Trace::Off));
            if failed || work.stop.load(Ordering::Relaxed) {
                // What failed is told before the next seed, which may hang.
                results.send(std::mem::take(&mut batch)).ok();
            }
            if work.stop.load(Ordering::Relaxed) {
                return;
            }
        }
        results.send(batch).ok();
    }
}

/// A seed that nobody has run: short enough to be read out, and with room for those after it.
fn fresh_seed() -> Result<u64, WrongInput> {
    let random = getrandom::u64();
    let random =
        random.map_err(|error| WrongInput::Other(format!("no random seed: {error}; give one with --first")))?;
    Ok(random % 1_000_000_000_000)
}
