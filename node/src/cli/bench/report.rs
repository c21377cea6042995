//! What a bench came to, for people and for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_ring::NodeId;
use serde::Serialize;

use super::run::{Loop, Tally};
use super::usage::Cost;
use super::workload::Kind;
use crate::cli::exit::{Failure, FailureKind};
use crate::cli::human;
use crate::cli::table::{Align, Table};

/// A rate counts as reached from this part of it on.
const REACHED: f64 = 0.98;
const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// What a bench came to.
pub(super) struct Report {
    pub(super) workload: String,
    pub(super) how: Loop,
    pub(super) took: Duration,
    pub(super) kinds: BTreeMap<Kind, Tally>,
    /// Of all requests together.
    pub(super) cost: Cost<u64>,
    /// Resident bytes of each node at the end.
    pub(super) memory: BTreeMap<NodeId, u64>,
}

#[derive(Serialize)]
struct JsonReport<'a> {
    workload: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_asked: Option<f64>,
    seconds: f64,
    #[serde(flatten)]
    all: JsonTally,
    /// By the kind of request.
    kinds: BTreeMap<&'static str, JsonTally>,
    /// For each operation.
    #[serde(flatten)]
    cost: Cost<f64>,
    /// Resident bytes of each node, by its number.
    memory_bytes: BTreeMap<u32, u64>,
}

#[derive(Serialize)]
struct JsonTally {
    operations: u64,
    rate: f64,
    failed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_failure: Option<String>,
    latency_micros: BTreeMap<&'static str, u64>,
}

impl Report {
    /// What all kinds came to together.
    pub(super) fn all(&self) -> Tally {
        let mut all = Tally::default();
        self.kinds.values().for_each(|tally| all.add(tally));
        all
    }

    /// Of those that succeeded, by the second.
    pub(super) fn rate(&self, tally: &Tally) -> f64 {
        tally.latencies.len() as f64 / self.took.as_secs_f64()
    }

    /// For each operation.
    pub(super) fn cost_each(&self) -> Cost<f64> {
        self.cost.each(self.all().latencies.len())
    }

    /// # Errors
    /// If no request succeeded: how the first of them failed, or where none ended in time, the first that was late.
    pub(super) fn some_succeeded(&self, late_failure: Option<String>) -> Result<(), Failure> {
        let all = self.all();
        match all.first_failure.or(late_failure).filter(|_| all.latencies.is_empty()) {
            Some(failure) => Err(Failure::new(FailureKind::Unavailable, format!("no request succeeded: {failure}"))),
            None => Ok(()),
        }
    }

    /// Tells standard error if the rate which was asked for was not reached.
    pub(super) fn warn_of_shortfall(&self) {
        if let Some(shortfall) = self.shortfall() {
            let yellow = anstyle::AnsiColor::Yellow.on_default().bold();
            anstream::eprintln!("{yellow}warning:{yellow:#} {shortfall}");
        }
    }

    /// That the rate which was asked for was not reached, if so.
    fn shortfall(&self) -> Option<String> {
        let Loop::Open(asked) = self.how else { return None };
        let reached = self.rate(&self.all());
        (reached < REACHED * asked).then(|| {
            format!("of {} requests a second {} were answered: the rate was not reached, and what waited counts in the latencies; \
                `--highest` finds the rate that is kept", human::count(asked.round() as u64), human::count(reached.round() as u64))
        })
    }

    pub(super) fn describe(&self) -> String {
        let columns = ["", "per second", "p50", "p90", "p99", "p99.9", "most", "failed"];
        let align = |name: &'static str| (name, if name.is_empty() { Align::Left } else { Align::Right });
        let mut table = Table::new(columns.map(align).to_vec());
        let all = self.all();
        let mut row = |name: &str, tally: &Tally| {
            let mut cells = vec![name.to_owned(), human::count(self.rate(tally).round() as u64)];
            cells.extend(PERCENTILES.map(|(_, part)| latency(tally.latencies.value_at_quantile(part))));
            cells.extend([latency(tally.latencies.max()), human::count(tally.failed)]);
            table.row(cells);
        };
        self.kinds.iter().for_each(|(kind, tally)| row(kind.name(), tally));
        if 1 < self.kinds.len() {
            row("all", &all);
        }
        let mut text = table.render("");
        text += &self.cost_each().describe();
        for (kind, tally) in &self.kinds {
            if let Some(failure) = &tally.first_failure {
                text += &format!("the first {} that failed: {failure}\n", kind.name());
            }
        }
        text
    }

    pub(super) fn json(&self) -> impl Serialize + '_ {
        let json = |tally: &Tally| {
            let mut latencies: BTreeMap<_, _> =
                PERCENTILES.map(|(name, part)| (name, tally.latencies.value_at_quantile(part))).into_iter().collect();
            latencies.insert("max", tally.latencies.max());
            JsonTally {
                operations: tally.latencies.len(),
                rate: self.rate(tally),
                failed: tally.failed,
                first_failure: tally.first_failure.clone(),
                latency_micros: latencies,
            }
        };
        JsonReport {
            workload: &self.workload,
            clients: if let Loop::Closed(clients) = self.how { Some(clients) } else { None },
            rate_asked: if let Loop::Open(rate) = self.how { Some(rate) } else { None },
            seconds: self.took.as_secs_f64(),
            all: json(&self.all()),
            kinds: self.kinds.iter().map(|(kind, tally)| (kind.name(), json(tally))).collect(),
            cost: self.cost_each(),
            memory_bytes: self.memory.iter().map(|(node, bytes)| (node.number(), *bytes)).collect(),
        }
    }
}

/// In the unit that fits: `240 µs`, `1.2 ms`, `3.4 s`.
pub(super) fn latency(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(micros: &[u64], failed: u64) -> Tally {
        let mut tally = Tally { failed, first_failure: (0 < failed).then(|| "gone".to_owned()), ..Tally::default() };
        micros.iter().for_each(|micros| tally.latencies.saturating_record(*micros));
        tally
    }

    fn report(how: Loop) -> Report {
        let kinds = [(Kind::Read, tally(&[200, 300, 400], 0)), (Kind::Update, tally(&[2_000], 1))];
        Report {
            workload: "a".to_owned(),
            how,
            took: Duration::from_secs(2),
            kinds: kinds.into_iter().collect(),
            cost: Cost { cpu_micros_nodes: Some(120), cpu_micros_bench: Some(40), ..Cost::default() },
            memory: BTreeMap::new(),
        }
    }

    #[test]
    fn a_table_has_a_row_for_each_kind_and_one_for_all() {
        let text = report(Loop::Closed(2)).describe();
        let rows: Vec<&str> = text.lines().collect();
        assert!(rows[1].starts_with("read") && rows[1].contains("300 µs") && rows[3].starts_with("all"), "{text}");
        assert!(text.contains("CPU for each: 30.0 µs of all nodes, 10.0 µs of this program"), "{text}");
        assert!(text.contains("context switches unknown"), "{text}");
        assert!(text.contains("the first update that failed: gone"), "{text}");
    }

    #[test]
    fn a_rate_that_was_not_reached_is_told() {
        assert_eq!(report(Loop::Closed(2)).shortfall(), None);
        assert_eq!(report(Loop::Open(2.0)).shortfall(), None);
        assert!(
            report(Loop::Open(10.0)).shortfall().is_some_and(|told| told.starts_with("of 10 requests a second 2 were"))
        );
    }

    #[test]
    fn json_has_latencies_in_microseconds_and_what_was_asked_for() {
        let json = serde_json::to_value(report(Loop::Open(2.0)).json()).expect("it can be written");
        assert_eq!((&json["rate_asked"], &json["clients"]), (&2.0.into(), &serde_json::Value::Null));
        assert_eq!((&json["operations"], &json["failed"]), (&4.into(), &1.into()));
        assert_eq!(json["kinds"]["update"]["first_failure"], "gone");
        assert_eq!(json["kinds"]["read"]["latency_micros"]["max"], 400);
    }
}
