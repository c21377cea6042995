//! One load for a long time: whether latencies and memory stay what they were.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use quorate_ring::NodeId;
use serde_json::{Value, json};

use crate::cli::bench::drift::Drift;
use crate::cli::bench::phase::Requests;
use crate::cli::bench::report::{Report, latency};
use crate::cli::bench::rows::Rows;
use crate::cli::bench::run::Loop;
use crate::cli::bench::{Bench, STORED_STAY};
use crate::cli::exit::Failure;
use crate::cli::human;
use crate::cli::interrupt::{interrupted, interruption};

/// A figure of each interval, with the time at its end.
type Series = Vec<(Duration, f64)>;

/// What may drift.
#[derive(Default)]
struct Watched {
    /// In microseconds.
    p99: Series,
    /// Resident bytes.
    memory: BTreeMap<NodeId, Series>,
}

impl Watched {
    fn note(&mut self, at: Duration, report: &Report) {
        let all = report.all();
        if !all.latencies.is_empty() {
            self.p99.push((at, all.latencies.value_at_quantile(0.99) as f64));
        }
        for (node, bytes) in &report.memory {
            self.memory.entry(*node).or_default().push((at, *bytes as f64));
        }
    }

    fn describe(&self) -> String {
        let drift = |what: String, series: &Series, shown: &dyn Fn(f64) -> String| match Drift::of(series) {
            None => format!("{what}: too short to tell a drift\n"),
            Some(drift) => {
                let sign = if drift.per_hour < 0.0 { '-' } else { '+' };
                let [per_hour, first, last] =
                    [drift.per_hour.abs(), drift.first_quarter, drift.last_quarter].map(shown);
                format!("{what}: {sign}{per_hour} by the hour; {first} in the first quarter, {last} in the last\n")
            }
        };
        let memory = self.memory.iter();
        let memory = memory.map(|(node, series)| drift(format!("memory of {node}"), series, &bytes_shown));
        let p99 = drift("p99".to_owned(), &self.p99, &|micros| latency(micros.round() as u64));
        format!("\n{p99}{}", memory.collect::<String>())
    }

    fn json(&self) -> Value {
        let drift = |series: &Series| {
            Drift::of(series).map(|drift| {
                let Drift { per_hour, first_quarter, last_quarter } = drift;
                json!({ "per_hour": per_hour, "first_quarter": first_quarter, "last_quarter": last_quarter })
            })
        };
        let memory: BTreeMap<u32, _> =
            self.memory.iter().map(|(node, series)| (node.number(), drift(series))).collect();
        json!({ "p99_micros_drift": drift(&self.p99), "memory_bytes_drift": memory })
    }
}

fn bytes_shown(bytes: f64) -> String {
    human::bytes(bytes.round() as u64)
}

/// Measures, interval by interval. That a rate is not reached is told once, at the first; later it shows in the rows. Where it is interrupted, it tells the
/// drift until then.
///
/// # Errors
/// If no request succeeds in the first interval, and the interruption.
pub(in crate::cli::bench) async fn run(bench: &Bench, how: Loop, interval: Duration) -> Result<(), Failure> {
    let nodes: Vec<NodeId> = bench.client.known_ring().members.iter().map(|member| member.node).collect();
    let columns = nodes.iter().map(|node| format!("memory {node}")).collect();
    let mut rows = Rows::begin(bench.format, "after", columns)?;
    let requests = Requests::warmed_up(bench, how).await;
    let (mut watched, mut passed) = (Watched::default(), Duration::ZERO);
    // One for all intervals: between two of them nobody would hear the signal.
    let mut interruptions = pin!(interrupted());
    while passed < bench.time {
        let measured = async { requests.measure(interval.min(bench.time - passed)).await.report().await };
        let report = tokio::select! {
            report = measured => report,
            () = &mut interruptions => {
                rows.end(&watched.describe(), "soak", watched.json())?;
                return Err(interruption(STORED_STAY));
            }
        };
        if passed.is_zero() {
            report.some_succeeded(None)?;
            report.warn_of_shortfall();
        }
        passed += report.took;
        watched.note(passed, &report);
        let unknown = || "unknown".to_owned();
        let memory =
            nodes.iter().map(|node| report.memory.get(node).map_or_else(unknown, |bytes| human::bytes(*bytes)));
        rows.add(&human::duration(passed), &report, memory, json!({ "after_seconds": passed.as_secs_f64() }))?;
    }
    requests.end().await?;
    rows.end(&watched.describe(), "soak", watched.json())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drifts_are_told_by_the_hour_and_what_is_too_short_is_said_to_be() {
        let series = |values: [f64; 4]| (1..).map(|hour| Duration::from_secs(3_600 * hour)).zip(values).collect();
        let node = NodeId::new(7).expect("not 0");
        let memory = [(node, series([8.0, 7.0, 6.0, 5.0].map(|mib| mib * 1024.0 * 1024.0)))];
        let watched = Watched { p99: series([1_000.0, 1_500.0, 2_000.0, 2_500.0]), memory: memory.into() };
        let text = watched.describe();
        assert!(text.contains("p99: +500 µs by the hour; 1.0 ms in the first quarter, 2.5 ms in the last"), "{text}");
        assert!(text.contains("memory of n7: -1.0 MiB by the hour; 8.0 MiB in the first quarter, 5.0 MiB"), "{text}");
        assert_eq!(watched.json()["memory_bytes_drift"]["7"]["per_hour"], -1024.0 * 1024.0);
        assert!(Watched::default().describe().contains("p99: too short to tell a drift"));
    }
}
