//! The processor of a machine: so many cores, and one queue of those who wait for one.
//!
//! Whoever has a core keeps it until it leaves; those who wait come in the order in which they arrived. Services are not interrupted: a turn of
//! a thread takes some tens or hundreds of microseconds, less than an operating system's slice. With Poisson arrivals and exponential
//! services it is M/M/c, and the tests hold it to the closed forms.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use quorate_node::Time;

/// Cores, and who waits for one.
#[derive(Clone, Debug)]
pub struct Station<T> {
    cores: usize,
    waiting: VecDeque<T>,
    /// How many cores are busy.
    pub busy: Gauge,
    /// How many wait.
    pub queue: Gauge,
}

impl<T> Station<T> {
    /// So many idle cores.
    pub const fn new(cores: NonZeroUsize) -> Self {
        Self { cores: cores.get(), waiting: VecDeque::new(), busy: Gauge::ZERO, queue: Gauge::ZERO }
    }

    /// Somebody wants a core. Given back is who gets one now.
    pub fn arrive(&mut self, now: Time, customer: T) -> Option<T> {
        if self.busy.value < self.cores as u64 {
            self.busy.set(now, self.busy.value + 1);
            return Some(customer);
        }
        self.waiting.push_back(customer);
        self.queue.set(now, self.waiting.len() as u64);
        None
    }

    /// Somebody gives a core back. Given back is who gets it.
    ///
    /// # Panics
    /// If nobody has one.
    pub fn leave(&mut self, now: Time) -> Option<T> {
        let next = self.waiting.pop_front();
        match next {
            Some(_) => self.queue.set(now, self.waiting.len() as u64),
            None => self.busy.set(now, self.busy.value.checked_sub(1).expect("who leaves has a core")),
        }
        next
    }

    /// How many cores there are.
    pub const fn cores(&self) -> usize {
        self.cores
    }
}

/// A number that changes, and its mean over time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauge {
    value: u64,
    since: Time,
    area: u128,
    begun: Time,
}

impl Gauge {
    const ZERO: Self = Self { value: 0, since: Time::from_micros(0), area: 0, begun: Time::from_micros(0) };

    /// It is this from now on.
    pub fn set(&mut self, now: Time, value: u64) {
        self.area += u128::from(self.value) * now.since(self.since).as_micros();
        (self.value, self.since) = (value, now);
    }

    /// What it is.
    pub const fn value(&self) -> u64 {
        self.value
    }

    /// The mean counts from now on.
    pub fn restart(&mut self, now: Time) {
        *self = Self { value: self.value, since: now, area: 0, begun: now };
    }

    /// Its mean since then.
    pub fn mean(&self, now: Time) -> f64 {
        let mut upto = *self;
        upto.set(now, self.value);
        upto.area as f64 / now.since(self.begun).as_micros().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;
    use crate::capacity::exponential;
    use crate::queue::Queue;

    /// In microseconds: large, so that rounding to whole ones does not show.
    const SERVICE: f64 = 10_000.0;
    /// Customers of a batch: many times those that it takes until the queue of a busy station has forgotten how it was.
    const BATCH: usize = 10_000;
    const BATCHES: usize = 60;

    /// What a batch of customers met.
    #[derive(Default)]
    struct Met {
        waits: Vec<f64>,
        sojourns: Vec<f64>,
    }

    impl Met {
        fn mean_wait(&self) -> f64 {
            self.waits.iter().sum::<f64>() / self.waits.len() as f64
        }

        fn share_that_waited(&self) -> f64 {
            self.waits.iter().filter(|wait| 0.0 < **wait).count() as f64 / self.waits.len() as f64
        }

        fn share_of_sojourns_beyond(&self, limit: f64) -> f64 {
            self.sojourns.iter().filter(|sojourn| limit < **sojourn).count() as f64 / self.sojourns.len() as f64
        }
    }

    /// Poisson arrivals to a station with exponential services; batches of customers in the order of their arrival at a core.
    fn run(cores: usize, utilisation: f64, seed: u64) -> (Vec<Met>, f64) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |mean: f64| exponential(&mut random, mean).round() as u64;
        let mut station = Station::new(NonZeroUsize::new(cores).expect("some"));
        let between = SERVICE / (cores as f64 * utilisation);
        // An arrival, or an end of a service.
        let mut queue: Queue<bool> = Queue::default();
        queue.push(Time::default(), true);
        let (mut batches, mut met, mut last) = (Vec::new(), Met::default(), Time::default());
        while batches.len() < BATCHES {
            let (now, arrives) = queue.pop(Time::from_micros(u64::MAX)).expect("arrivals never end");
            last = now;
            let served = if arrives {
                queue.push(Time::from_micros(now.as_micros() + draw(between)), true);
                station.arrive(now, now)
            } else {
                station.leave(now)
            };
            if let Some(arrived) = served {
                let takes = draw(SERVICE);
                queue.push(Time::from_micros(now.as_micros() + takes), false);
                let waited = now.since(arrived).as_micros() as f64;
                met.waits.push(waited);
                met.sojourns.push(waited + takes as f64);
            }
            if met.waits.len() == BATCH {
                batches.push(std::mem::take(&mut met));
            }
        }
        (batches, station.busy.mean(last) / cores as f64)
    }

    /// Erlang's C: the chance that an arrival has to wait.
    fn erlang_c(cores: usize, utilisation: f64) -> f64 {
        let load = cores as f64 * utilisation;
        let term = |count: usize| (1..=count).fold(1.0, |term, index| term * load / index as f64);
        let all_busy = term(cores) / (1.0 - utilisation);
        all_busy / ((0..cores).map(term).sum::<f64>() + all_busy)
    }

    /// The mean of the batches is what is expected, within four standard errors as the batches show them; and an error is at most such a part
    /// of it.
    fn holds(what: &str, batches: &[Met], of: impl Fn(&Met) -> f64, expected: f64, error_max: f64) {
        let values: Vec<f64> = batches.iter().map(of).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let error = (variance / count).sqrt();
        assert!((mean - expected).abs() <= 4.0 * error, "{what}: {mean}, not {expected} ± {error}");
        assert!(error <= error_max * expected, "{what}: {expected} ± {error} says nothing");
    }

    #[test]
    fn the_processor_is_the_closed_forms_queue() {
        for (seed, cores) in (1..).zip([1, 2, 4]) {
            for utilisation in [0.3, 0.5, 0.8, 0.9] {
                let what = |of: &str| format!("{of} with {cores} cores at {utilisation}");
                let (batches, busy) = run(cores, utilisation, seed);
                assert!((busy - utilisation).abs() < 0.02, "{}: {busy}", what("utilisation"));
                let waits = erlang_c(cores, utilisation);
                holds(&what("share that waits"), &batches, Met::share_that_waited, waits, 0.05);
                let mean = waits * SERVICE / (cores as f64 * (1.0 - utilisation));
                holds(&what("mean wait"), &batches, Met::mean_wait, mean, 0.05);
                if cores == 1 {
                    let p99 = 100.0_f64.ln() * SERVICE / (1.0 - utilisation);
                    let beyond = |met: &Met| met.share_of_sojourns_beyond(p99);
                    holds(&what("share beyond the p99"), &batches, beyond, 0.01, 0.35);
                }
            }
        }
    }

    #[test]
    fn erlangs_c_of_one_core_is_its_utilisation() {
        assert!((erlang_c(1, 0.8) - 0.8).abs() < 1e-12);
        assert!((erlang_c(2, 0.5) - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_mean_over_time_weighs_by_time() {
        let at = Time::from_micros;
        let mut gauge = Gauge::default();
        gauge.set(at(10), 4);
        gauge.set(at(20), 0);
        assert_eq!((gauge.mean(at(40)), gauge.value()), (1.0, 0));
        gauge.restart(at(40));
        assert_eq!(gauge.mean(at(50)), 0.0);
    }
}
