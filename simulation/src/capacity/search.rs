//! How many nodes a rate needs, and how high a rate a cluster carries: the prediction, asked again and again.

use std::num::NonZeroU32;

use super::{Arrivals, CLIENTS_MAX, Extent, Hardware, Impossible, Load, NODES_MAX, Prediction, predict};
use crate::plan::span::Span;

/// Above this a processor's queue is no steady one any more, whatever a run of seconds shows.
const UTILISATION_MAX: f64 = 0.98;
/// Of so many requests one may fail.
const FAILED_MAX: f64 = 0.001;
/// A highest rate is exact to this part.
const EXACT: f64 = 0.02;
/// Where no processor has to be waited for: this part of the most that a cluster answers.
const IDLE: f64 = 0.05;
/// As many clients for each node as it takes to have it answer the most that it can.
const CLIENTS_PER_NODE: u32 = 100;

impl Prediction {
    /// Whether a cluster for which this is predicted carries the load, with 99 of 100 requests answered by then.
    pub fn carries(&self, p99: Span) -> bool {
        let busiest = self.utilisation_max.max(self.thread_utilisation_max);
        !self.saturated
            && self.failed <= FAILED_MAX
            && busiest <= UTILISATION_MAX
            && self.latency_micros.p99 <= p99.as_micros()
    }
}

/// The most requests a second that a cluster answers, whatever they wait.
///
/// # Errors
/// What of it cannot be.
pub fn peak(hardware: &Hardware, load: &Load, extent: Extent) -> Result<f64, Impossible> {
    let clients = hardware.nodes.saturating_mul(CLIENTS_PER_NODE).min(CLIENTS_MAX);
    let clients = NonZeroU32::new(clients).unwrap_or(NonZeroU32::MIN);
    Ok(predict(hardware, &Load { arrivals: Arrivals::Closed(clients), ..*load }, extent)?.rate)
}

/// The highest rate that a cluster carries with this p99, to a fiftieth, and what is predicted for it. Requests come at random.
///
/// # Errors
/// [`Impossible::TooSoon`] if it keeps that p99 at no rate.
pub fn highest_rate(
    hardware: &Hardware,
    load: &Load,
    p99: Span,
    extent: Extent,
) -> Result<(f64, Prediction), Impossible> {
    let at = |rate: f64| predict(hardware, &Load { arrivals: Arrivals::Poisson(rate), ..*load }, extent);
    let peak = peak(hardware, load, extent)?;
    let mut low = peak * IDLE;
    let mut best = at(low)?;
    if !best.carries(p99) {
        return Err(Impossible::TooSoon { wanted: p99, least: Span::from_micros(best.latency_micros.p99) });
    }
    // A closed loop keeps every queue full, so the peak is above what a random one carries.
    let mut high = peak * 1.1;
    while EXACT * high < high - low {
        let rate = f64::midpoint(low, high);
        let prediction = at(rate)?;
        if prediction.carries(p99) {
            (low, best) = (rate, prediction);
        } else {
            high = rate;
        }
    }
    Ok((low, best))
}

/// The smallest number of nodes that carries a rate with this p99, and what is predicted for them. The number of nodes of the hardware is the
/// least that is tried.
///
/// # Errors
/// [`Impossible::TooSoon`] if no cluster keeps that p99, [`Impossible::TooMuch`] if none that can be asked about carries the rate.
pub fn least_nodes(
    hardware: &Hardware,
    load: &Load,
    p99: Span,
    extent: Extent,
) -> Result<(u32, Prediction), Impossible> {
    let of = |nodes: u32| Hardware { nodes, ..hardware.clone() };
    let Some(wanted) = load.arrivals.rate() else {
        let expected = "a rate: clients that wait for their answers ask for less where nodes are slow".to_owned();
        return Err(Impossible::Range { what: "the load", value: "a closed loop".to_owned(), expected });
    };
    // One that keeps the p99 at no rate would be looked for among ever more nodes.
    let (most, _) = highest_rate(hardware, load, p99, extent)?;
    let mut nodes = (f64::from(hardware.nodes) * wanted / most * 0.8).max(hardware.nodes.into()) as u32;
    let mut too_few = hardware.nodes.saturating_sub(1);
    let (mut enough, mut best) = loop {
        if NODES_MAX < nodes {
            return Err(Impossible::TooMuch { wanted, nodes: hardware.nodes, most });
        }
        let prediction = predict(&of(nodes), load, extent)?;
        if prediction.carries(p99) {
            break (nodes, prediction);
        }
        too_few = nodes;
        nodes += nodes.div_ceil(4);
    };
    while too_few + 1 < enough {
        let nodes = u32::midpoint(too_few, enough);
        let prediction = predict(&of(nodes), load, extent)?;
        if prediction.carries(p99) {
            (enough, best) = (nodes, prediction);
        } else {
            too_few = nodes;
        }
    }
    Ok((enough, best))
}
