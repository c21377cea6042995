//! The highest rate that keeps a p99: an open loop at one rate after the other, each warmed up on its own.

use std::time::Duration;

use serde_json::json;

use super::Bench;
use super::phase::Requests;
use super::report::{Report, latency};
use super::rows::Rows;
use super::run::{Loop, Tally};
use super::search::Search;
use crate::cli::exit::{Failure, FailureKind};
use crate::cli::human;

/// A rate is only kept if this part of it was answered,
const REACHED_LEAST: f64 = 0.99;
/// and no larger part of the requests failed than this.
const FAILED_MOST: f64 = 0.001;

/// What a rate has to keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bound {
    pub(super) p99: Duration,
}

impl Bound {
    /// Why this was not enough of what was asked for; `None` if it was.
    fn missed_by(&self, asked: f64, took: Duration, tally: &Tally) -> Option<String> {
        let p99 = tally.latencies.value_at_quantile(0.99);
        let (asked, answered) = (asked * took.as_secs_f64(), tally.latencies.len() as f64);
        // One request may be due just before the end, and be answered after it.
        if answered + 1.0 < REACHED_LEAST * asked {
            return Some(format!("reached {:.0} %", answered / asked * 100.0));
        }
        if is_failing(tally) {
            return Some("failed".to_owned());
        }
        (self.p99.as_micros() <= u128::from(p99)).then(|| format!("p99 {}", latency(p99)))
    }
}

/// Whether more of the requests failed than may.
pub(super) fn is_failing(tally: &Tally) -> bool {
    let all = tally.latencies.len() + tally.failed;
    FAILED_MOST * (all as f64) < tally.failed as f64
}

/// Measures a rate, tells it, and says whether it is kept.
pub(super) async fn step(bench: &Bench, rows: &mut Rows, bound: Bound, rate: f64) -> Result<(Report, bool), Failure> {
    let requests = Requests::warmed_up(bench, Loop::Open(rate)).await;
    let phase = requests.measure(bench.time).await;
    requests.end().await?;
    let report = phase.report().await;
    let all = report.all();
    let missed = bound.missed_by(rate, report.took, &all);
    let told = missed.as_ref().map_or_else(|| "kept".to_owned(), Clone::clone);
    rows.add(&human::count(rate.round() as u64), &report, [told], json!({ "kept": missed.is_none() }))?;
    Ok((report, missed.is_none()))
}

/// The rows of steps.
pub(super) fn rows(bench: &Bench) -> Result<Rows, Failure> {
    Rows::begin(bench.format, "asked a second", vec!["p99 kept".to_owned()])
}

/// Searches. A rate is missed that is missed twice.
///
/// # Errors
/// If no request succeeds, or no rate is kept.
pub(super) async fn search(bench: &Bench, rows: &mut Rows, bound: Bound) -> Result<f64, Failure> {
    let mut search = Search::default();
    while let Some(rate) = search.next() {
        let (mut report, mut is_kept) = step(bench, rows, bound, rate).await?;
        // What happens once in a while, such as a compaction, would end the search far below the rate that is kept.
        if !is_kept {
            (report, is_kept) = step(bench, rows, bound, rate).await?;
        }
        if search.highest().is_none() {
            report.some_succeeded(None)?;
        }
        search.note(rate, is_kept);
    }
    search.highest().ok_or_else(|| {
        let bound = human::duration(bound.p99);
        Failure::new(FailureKind::Unavailable, format!("no rate from 1 request a second on keeps a p99 below {bound}"))
            .help("`quorate bench --clients 1` shows how long requests take without load")
    })
}

/// Searches, and tells.
///
/// # Errors
/// As [`search`].
pub(super) async fn run(bench: &Bench, bound: Bound) -> Result<(), Failure> {
    let mut rows = rows(bench)?;
    let highest = search(bench, &mut rows, bound).await?;
    rows.end(&describe(highest, bound), "highest", json(highest, bound))
}

pub(super) fn describe(highest: f64, bound: Bound) -> String {
    format!(
        "\nhighest rate with a p99 below {}: {} requests a second\n",
        human::duration(bound.p99),
        human::count(highest.round() as u64)
    )
}

pub(super) fn json(highest: f64, bound: Bound) -> serde_json::Value {
    json!({ "highest_rate": highest, "p99_micros": u64::try_from(bound.p99.as_micros()).unwrap_or(u64::MAX) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound { p99: Duration::from_millis(5) };

    fn tally(count: u64, micros: u64, failed: u64) -> Tally {
        let mut tally = Tally { failed, ..Tally::default() };
        (0..count).for_each(|_| tally.latencies.saturating_record(micros));
        tally
    }

    #[test]
    fn a_rate_is_kept_if_it_is_reached_and_fast_and_hardly_anything_fails() {
        let missed = |tally: &Tally| BOUND.missed_by(500.0, Duration::from_secs(2), tally);
        assert_eq!(missed(&tally(990, 4_900, 0)), None);
        assert_eq!(missed(&tally(980, 100, 0)), Some("reached 98 %".to_owned()));
        assert_eq!(missed(&tally(1_000, 100, 2)), Some("failed".to_owned()));
        assert_eq!(missed(&tally(1_000, 6_000, 0)), Some("p99 6.0 ms".to_owned()));
        assert_eq!(missed(&tally(0, 0, 0)), Some("reached 0 %".to_owned()));
    }

    #[test]
    fn a_request_at_the_end_of_a_slow_rate_does_not_miss_it() {
        assert_eq!(BOUND.missed_by(48.5, Duration::from_secs(1), &tally(48, 100, 0)), None);
        assert!(BOUND.missed_by(48.5, Duration::from_secs(1), &tally(47, 100, 0)).is_some());
    }
}
