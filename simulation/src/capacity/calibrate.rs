//! Costs from measurements.
//!
//! A bench tells how much of a processor a request costs, of all nodes and of the client; a simulated run of the same load tells how much of everything
//! a request is. What everything costs is what makes these sums right. There are more costs than measurements, and some of them come together, so
//! it is the least squares of two things: by which part of itself each measurement is missed, and, with a small weight, by which part of itself each
//! cost differs from the profile to begin with. What the measurements do not tell apart so stays in the proportions of that. As turns are larger
//! where they cost more, this is repeated from the profile that was found.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::Deserialize;

use super::times::{Amounts, Cost, ServiceTimes};
use super::{Arrivals, Extent, Hardware, Impossible, Load, Prediction, predict};

/// How much it counts that a cost differs from what it was, against that a measurement is missed: so little that one measurement alone is met
/// within some hundredths.
const WEIGHT: f64 = 0.003;
/// A cost is at least this part of what it was, and at most its inverse.
const LEAST: f64 = 0.05;
/// How often all is simulated anew.
const ROUNDS: usize = 4;
/// How often each cost is improved in turn. The sum of squares is convex, so this ends at its one minimum.
const SWEEPS: usize = 500;

/// What `quorate bench` measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// Of what it is, for people.
    pub name: String,
    /// What was asked.
    pub load: Load,
    /// Requests answered in a second.
    pub rate: f64,
    /// Half of them took at most this.
    pub p50_micros: u64,
    /// 99 of 100 took at most this.
    pub p99_micros: u64,
    /// Microseconds of a processor for each request, of all nodes together.
    pub cpu_micros_nodes: f64,
    /// The same, of the bench.
    pub cpu_micros_client: f64,
}

/// The output of `quorate bench --json`, as far as it is used.
#[derive(Deserialize)]
struct Bench {
    clients: Option<NonZeroU32>,
    rate_asked: Option<f64>,
    rate: f64,
    latency_micros: BTreeMap<String, u64>,
    kinds: BTreeMap<String, Kind>,
    cpu_micros_nodes: Option<f64>,
    cpu_micros_bench: f64,
}

#[derive(Deserialize)]
struct Kind {
    operations: u64,
}

/// Why a text is no measurement that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is not what the bench prints.
    #[error("no output of `quorate bench --json`: {0}")]
    Json(String),
    /// It asked for something that is not simulated.
    #[error("{0} requests are not simulated: only read and update")]
    Kind(String),
    /// It does not say something.
    #[error("{0}")]
    Lacks(&'static str),
}

impl Measurement {
    /// Reads what `quorate bench --json` has printed. It does not say how large values are, and which records are asked for: the load does.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn read(name: &str, load: Load, text: &str) -> Result<Self, Unusable> {
        let bench: Bench = serde_json::from_str(text).map_err(|error| Unusable::Json(error.to_string()))?;
        if let Some(kind) = bench.kinds.keys().find(|kind| !["read", "update"].contains(&kind.as_str())) {
            return Err(Unusable::Kind(kind.clone()));
        }
        let count = |kind: &str| bench.kinds.get(kind).map_or(0.0, |kind| kind.operations as f64);
        let arrivals = match (bench.clients, bench.rate_asked) {
            (Some(clients), _) => Arrivals::Closed(clients),
            (None, Some(rate)) => Arrivals::Steady(rate),
            (None, None) => return Err(Unusable::Lacks("neither clients nor rate_asked is there")),
        };
        let nodes = bench.cpu_micros_nodes.filter(|micros| 0.0 < *micros);
        let cpu_micros_nodes = nodes.ok_or(Unusable::Lacks("not all nodes told what they used of their processors"))?;
        if bench.cpu_micros_bench <= 0.0 || count("read") + count("update") < 1.0 {
            return Err(Unusable::Lacks("nothing was answered"));
        }
        let latency = |part: &str| bench.latency_micros.get(part).copied().unwrap_or_default();
        Ok(Self {
            name: name.to_owned(),
            load: Load { arrivals, reads: count("read") / (count("read") + count("update")), ..load },
            rate: bench.rate,
            p50_micros: latency("p50"),
            p99_micros: latency("p99"),
            cpu_micros_nodes,
            cpu_micros_client: bench.cpu_micros_bench,
        })
    }
}

/// The costs with which the measurements come out best. The hardware is what they were made on, and its costs are those to begin with.
///
/// # Errors
/// What cannot be simulated.
pub fn calibrate(hardware: &Hardware, measured: &[Measurement], extent: Extent) -> Result<ServiceTimes, Impossible> {
    let before = &hardware.times;
    let mut found = hardware.clone();
    for _ in 0..ROUNDS {
        let predictions = predictions(&found, measured, extent)?;
        let rows =
            measured.iter().zip(&predictions).flat_map(|(measured, prediction)| rows(before, measured, prediction));
        let factors = least_squares(&rows.collect::<Vec<_>>());
        found.times.micros = std::array::from_fn(|cost| before.micros[cost] * factors[cost]);
    }
    Ok(found.times)
}

/// What is predicted for each measurement.
///
/// # Errors
/// What cannot be simulated.
pub fn predictions(
    hardware: &Hardware,
    measured: &[Measurement],
    extent: Extent,
) -> Result<Vec<Prediction>, Impossible> {
    measured.iter().map(|measured| predict(hardware, &measured.load, extent)).collect()
}

/// Of the nodes and of the client: for each cost, which part it would be of what was measured.
fn rows(before: &ServiceTimes, measured: &Measurement, prediction: &Prediction) -> [Amounts; 2] {
    [(false, measured.cpu_micros_nodes), (true, measured.cpu_micros_client)].map(|(of_client, micros)| {
        let part = |cost: Cost| before.micros[cost as usize] * prediction.amounts[cost as usize] / micros;
        Cost::ALL.map(|cost| if cost.is_clients() == of_client { part(cost) } else { 0.0 })
    })
}

/// The factors near 1 with which each row comes near 1, by coordinate descent.
fn least_squares(rows: &[Amounts]) -> Amounts {
    let mut factors = [1.0; Cost::ALL.len()];
    for _ in 0..SWEEPS {
        for cost in 0..factors.len() {
            let (mut wanted, mut weight) = (WEIGHT, WEIGHT);
            for row in rows {
                let others: f64 =
                    (0..factors.len()).filter(|other| *other != cost).map(|other| row[other] * factors[other]).sum();
                wanted += row[cost] * (1.0 - others);
                weight += row[cost] * row[cost];
            }
            factors[cost] = (wanted / weight).clamp(LEAST, 1.0 / LEAST);
        }
    }
    factors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::Distribution;

    const BENCH: &str = r#"{"workload":"a","clients":64,"seconds":6.0,"operations":300,"rate":50.0,"failed":0,
        "latency_micros":{"p50":9503,"p90":1,"p99":50271,"p99.9":1,"max":1},
        "kinds":{"read":{"operations":100},"update":{"operations":200}},"cpu_micros_nodes":177.5,"cpu_micros_bench":26.5}"#;

    const LOAD: Load = Load {
        arrivals: Arrivals::Poisson(1.0),
        reads: 0.0,
        value_bytes: 100,
        records: 10,
        distribution: Distribution::Uniform,
    };

    #[test]
    fn what_the_bench_prints_is_read() {
        let read = Measurement::read("a", LOAD, BENCH).expect("it is right");
        let arrivals = Arrivals::Closed(NonZeroU32::new(64).expect("some"));
        assert_eq!(read.load, Load { arrivals, reads: 1.0 / 3.0, ..LOAD });
        assert_eq!((read.p99_micros, read.cpu_micros_nodes, read.cpu_micros_client), (50_271, 177.5, 26.5));
        let steady = BENCH.replace("\"clients\":64", "\"rate_asked\":5000.0");
        let read = Measurement::read("a", LOAD, &steady).expect("it is right");
        assert_eq!(read.load.arrivals, Arrivals::Steady(5_000.0));
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let refused = |from, to| Measurement::read("a", LOAD, &BENCH.replace(from, to)).expect_err("wrong").to_string();
        assert_eq!(refused("\"update\"", "\"scan\""), "scan requests are not simulated: only read and update");
        assert_eq!(refused("\"clients\":64,", ""), "neither clients nor rate_asked is there");
        assert!(refused("\"cpu_micros_nodes\":177.5,", "").contains("not all nodes told"));
        assert!(refused("177.5", "none").contains("no output of `quorate bench --json`"));
        assert_eq!(refused("\"kinds\":{", "\"kinds\":{},\"unknown\":{"), "nothing was answered");
    }

    #[test]
    fn what_is_measured_is_met_and_what_is_not_stays() {
        let mut rows = [Amounts::default(); 2];
        (rows[0][0], rows[0][1]) = (0.2, 0.3);
        (rows[1][0], rows[1][1]) = (0.8, 0.1);
        let factors = least_squares(&rows);
        let sum = |row: &Amounts| row.iter().zip(&factors).map(|(part, factor)| part * factor).sum::<f64>();
        assert!(rows.iter().all(|row| (sum(row) - 1.0).abs() < 0.1), "{factors:?}");
        assert_eq!(factors[2..], [1.0; Cost::ALL.len() - 2]);
    }
}
