//! From phase to phase of a run, and what is predicted at its end.

use std::time::Duration;

use super::super::generator::{Due, Tally};
use super::super::times::Amounts;
use super::super::{Arrivals, Impossible, Latency, Machines, Prediction};
use super::{Cluster, Event, LASTS_MAX, Phase, Work};

/// What is measured lasts at least this.
const MEASURED_MIN: Duration = Duration::from_millis(100);
/// Of the requests that are measured, this part comes before them, until the cluster is as it stays.
const WARM_UP_PART: u32 = 4;
/// Where more requests than that are under way at once, and fewer have ended, the run has shown what it can.
const UNDERWAY_MAX: u64 = 20_000;
/// Of the requests that end in an open loop, this part and a few more may be added to those under way: by chance, not by a queue that grows.
const GROWTH_MAX: f64 = 0.03;
const GROWTH_SLACK: f64 = 20.0;

impl Cluster<'_> {
    /// Goes from phase to phase, and says whether the last is over.
    pub(super) fn is_over(&mut self) -> bool {
        let (answered, lasted) = (self.generator.tally.ended(), self.now.since(self.since));
        match self.phase {
            Phase::Loading if self.generator.is_loaded() => {
                self.enter(Phase::WarmUp);
                self.begin_load();
            }
            Phase::WarmUp if u64::from(self.extent.requests / WARM_UP_PART) <= answered => self.enter(Phase::Measured),
            Phase::Measured => {
                return u64::from(self.extent.requests) <= answered && MEASURED_MIN <= lasted || self.is_flooded();
            }
            Phase::Loading | Phase::WarmUp => {}
        }
        self.is_flooded()
    }

    /// Whether requests come so much faster than they end that the run can be left.
    fn is_flooded(&self) -> bool {
        let underway = self.generator.underway();
        self.load.arrivals.rate().is_some() && UNDERWAY_MAX.max(self.generator.ended()) < underway
    }

    /// Whether what waits grows without end.
    fn is_saturated(&self) -> bool {
        let grown = self.generator.underway().saturating_sub(self.underway_before) as f64;
        let allowed = GROWTH_MAX * self.generator.tally.ended() as f64 + GROWTH_SLACK;
        self.load.arrivals.rate().is_some() && allowed < grown
    }

    /// What is counted, counts from now on.
    fn enter(&mut self, phase: Phase) {
        let now = self.now;
        (self.phase, self.since, self.amounts) = (phase, now, Amounts::default());
        self.underway_before = self.generator.underway();
        self.generator.tally = Tally::default();
        self.stations.iter_mut().for_each(|station| station.busy.restart(now));
        for thread in &mut self.threads {
            thread.busy.restart(now);
            thread.waiting.restart(now);
        }
    }

    fn begin_load(&mut self) {
        match self.load.arrivals {
            Arrivals::Closed(clients) => {
                (0..clients.get()).for_each(|_| self.give(self.client(), Work::Client(Due::Begin(self.now))));
            }
            Arrivals::Poisson(_) | Arrivals::Steady(_) => self.queue.push(self.now, Event::Arrival),
        }
    }

    pub(super) fn predict(&self) -> Result<Prediction, Impossible> {
        let (now, tally) = (self.now, &self.generator.tally);
        let (lasted, ended) = (now.since(self.since), tally.ended().max(1) as f64);
        if tally.latencies.is_empty() && !self.is_saturated() {
            return Err(Impossible::Silent(LASTS_MAX));
        }
        let rate = tally.latencies.len() as f64 / lasted.as_secs_f64().max(1e-6);
        let machines = match self.hardware.machines {
            Machines::Own(_) => &self.stations[..self.hardware.nodes as usize],
            Machines::Shared(_) => &self.stations[..],
        };
        let utilisations = machines.iter().map(|station| station.busy.mean(now) / station.cores() as f64);
        let threads = &self.threads[..self.client()];
        let amounts = self.amounts.map(|amount| amount / ended);
        let (cpu_micros_nodes, cpu_micros_client) = self.hardware.times.of(&amounts);
        Ok(Prediction {
            rate,
            failed: tally.failed as f64 / ended,
            saturated: self.is_saturated(),
            utilisation: utilisations.clone().sum::<f64>() / machines.len() as f64,
            utilisation_max: utilisations.fold(0.0, f64::max),
            thread_utilisation_max: threads.iter().map(|thread| thread.busy.mean(now)).fold(0.0, f64::max),
            queue: threads.iter().map(|thread| thread.waiting.mean(now)).sum::<f64>() / f64::from(self.hardware.nodes),
            latency_micros: Latency::of(&tally.latencies),
            cpu_micros_nodes,
            cpu_micros_client,
            amounts,
        })
    }
}
