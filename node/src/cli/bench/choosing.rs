//! Which records are asked for: evenly, a few of them most of the time, or those that were stored last.
//!
//! Zipf's law with YCSB's constant is drawn as in "Quickly generating billion-record synthetic databases" (Gray et al., SIGMOD 1994), which is what YCSB
//! does. Ranks are scattered over the records, so that those in demand are no neighbours.

use clap::ValueEnum;
use rand::{Rng, RngExt};
use xxhash_rust::xxh3::xxh3_64;

/// YCSB's: of 100,000 records the first is asked for by 8 % of all requests.
const THETA: f64 = 0.99;

/// Which records are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Distribution {
    /// All equally often
    Uniform,
    /// By Zipf's law: a few of them most of the time
    Zipfian,
    /// By Zipf's law: what was stored last most of the time
    Latest,
}

/// Chooses records by their numbers from 0.
#[derive(Clone, Debug)]
pub(super) struct Chooser {
    distribution: Distribution,
    zipf: Zipf,
}

/// Zipf's law for so many things.
#[derive(Clone, Debug)]
struct Zipf {
    things: u64,
    /// The sum of `1 / rank ^ THETA` over all of them.
    zeta: f64,
}

impl Chooser {
    pub(super) fn new(distribution: Distribution) -> Self {
        Self { distribution, zipf: Zipf { things: 0, zeta: 0.0 } }
    }

    /// One of so many records. There must not be fewer than at the last time.
    ///
    /// # Panics
    /// If there is none.
    pub(super) fn choose(&mut self, random: &mut impl Rng, records: u64) -> u64 {
        match self.distribution {
            Distribution::Uniform => random.random_range(0..records),
            Distribution::Zipfian => xxh3_64(&self.zipf.rank(random, records).to_le_bytes()) % records,
            Distribution::Latest => records - 1 - self.zipf.rank(random, records),
        }
    }
}

impl Zipf {
    /// A rank from 0.
    fn rank(&mut self, random: &mut impl Rng, things: u64) -> u64 {
        self.grow(things);
        let chance: f64 = random.random();
        let scaled = chance * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        let of_two = 1.0 + 0.5_f64.powf(THETA);
        if scaled < of_two {
            return 1.min(things - 1);
        }
        let count = things as f64;
        let eta = (1.0 - (2.0 / count).powf(1.0 - THETA)) / (1.0 - of_two / self.zeta);
        let rank = count * (eta * chance - eta + 1.0).powf(1.0 / (1.0 - THETA));
        (rank as u64).min(things - 1)
    }

    fn grow(&mut self, things: u64) {
        self.zeta += (self.things..things).map(|rank| ((rank + 1) as f64).powf(-THETA)).sum::<f64>();
        self.things = self.things.max(things);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;

    const RECORDS: u64 = 1_000;
    const DRAWS: u64 = 200_000;

    /// How often each record was chosen.
    fn counts(distribution: Distribution) -> BTreeMap<u64, u64> {
        let (mut chooser, mut random) = (Chooser::new(distribution), ChaCha8Rng::seed_from_u64(1));
        let mut counts = BTreeMap::new();
        (0..DRAWS).for_each(|_| *counts.entry(chooser.choose(&mut random, RECORDS)).or_default() += 1);
        assert!(counts.keys().all(|record| *record < RECORDS));
        counts
    }

    /// The part of all requests that the record of a rank should get.
    fn share(rank: u64) -> f64 {
        let zeta: f64 = (1..=RECORDS).map(|rank| (rank as f64).powf(-THETA)).sum();
        ((rank + 1) as f64).powf(-THETA) / zeta
    }

    fn is_near(count: u64, share: f64) -> bool {
        let expected = share * DRAWS as f64;
        (count as f64 - expected).abs() < expected / 10.0
    }

    #[test]
    fn what_was_stored_last_is_asked_for_by_zipfs_law() {
        let counts = counts(Distribution::Latest);
        for rank in [0, 1, 2, 5, 20] {
            let count = counts[&(RECORDS - 1 - rank)];
            // Gray's ranks beyond the second are a curve through what they should be.
            assert!(is_near(count, share(rank)) || 1 < rank && is_near(count / 5 * 4, share(rank)), "{rank}: {count}");
        }
        let first: u64 = (0..RECORDS / 10).map(|rank| counts.get(&(RECORDS - 1 - rank)).copied().unwrap_or(0)).sum();
        assert!(is_near(first, (0..RECORDS / 10).map(share).sum()), "{first}");
    }

    #[test]
    fn those_in_demand_are_scattered() {
        let mut most: Vec<_> =
            counts(Distribution::Zipfian).into_iter().map(|(record, count)| (count, record)).collect();
        most.sort_unstable();
        let [.., (second, other), (first, one)] = most[..] else { panic!("there are many") };
        assert!(
            is_near(first, share(0)) && second < first && 1 < one.abs_diff(other),
            "{first} of {one}, {second} of {other}"
        );
    }

    #[test]
    fn evenly_means_that_all_are_asked_for_as_often() {
        let counts = counts(Distribution::Uniform);
        assert_eq!(counts.len() as u64, RECORDS);
        assert!(counts.values().all(|count| count.abs_diff(DRAWS / RECORDS) < 100), "{counts:?}");
    }

    #[test]
    fn what_grows_is_drawn_from_as_if_it_had_been_so_large_at_once() {
        let (mut grown, mut whole) = (Chooser::new(Distribution::Latest), Chooser::new(Distribution::Latest));
        let mut random = ChaCha8Rng::seed_from_u64(2);
        (1..RECORDS).for_each(|records| assert!(grown.choose(&mut random, records) < records));
        let draws = |chooser: &mut Chooser| {
            let mut random = ChaCha8Rng::seed_from_u64(3);
            (0..100).map(|_| chooser.choose(&mut random, RECORDS)).collect::<Vec<_>>()
        };
        assert_eq!(draws(&mut grown), draws(&mut whole));
    }
}
