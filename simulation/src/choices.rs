//! Every decision of a run: drawn by name from a range, recorded, and replayed.
//!
//! Decisions come from several streams, each with a generator of its own forked from the run's seed and the stream's name, so that
//! what one part of the simulator draws does not shift what another gets. A recording is the values by stream; a run that is given
//! one takes its decisions from there, as far as it goes and the names agree, and from the generators after that.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// One decision that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What was decided.
    pub label: &'static str,
    /// How.
    pub value: u64,
}

/// All decisions of a run, by stream.
pub type Recording = BTreeMap<String, Vec<Choice>>;

/// Where the streams of a run come from.
#[derive(Debug)]
pub struct Choices {
    seed: u64,
    replay: Recording,
}

impl Choices {
    /// Decisions drawn from this seed.
    pub const fn new(seed: u64) -> Self {
        Self { seed, replay: Recording::new() }
    }

    /// Decisions as recorded; drawn from the seed where the recording ends.
    pub const fn replay(seed: u64, recording: Recording) -> Self {
        Self { seed, replay: recording }
    }

    /// The seed.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The stream of this name. Each is taken once.
    pub fn stream(&mut self, name: impl Into<String>) -> Stream {
        let name = name.into();
        let random = ChaCha8Rng::seed_from_u64(xxh3_64_with_seed(name.as_bytes(), self.seed));
        let replay = self.replay.remove(&name).map(VecDeque::from).unwrap_or_default();
        Stream { name, random, replay, recorded: Vec::new() }
    }
}

/// The decisions of one part of the simulator.
#[derive(Debug)]
pub struct Stream {
    name: String,
    random: ChaCha8Rng,
    replay: VecDeque<Choice>,
    recorded: Vec<Choice>,
}

impl Stream {
    /// Decides something: a number of the range, each as likely as the others.
    pub fn choose(&mut self, label: &'static str, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = (*range.start(), *range.end());
        assert!(low <= high, "{label}: there is something to choose");
        // Always drawn, so that a replay that ends early goes on where the run it came from would have.
        let drawn = self.random.random::<u64>();
        let span = u128::from(high - low) + 1;
        let scaled = u64::try_from((u128::from(drawn) * span) >> 64).expect("below the span, which is at most 2^64");
        let value = match self.replay.pop_front() {
            Some(choice) if choice.label == label => choice.value.clamp(low, high),
            Some(_) => {
                self.replay.clear();
                low + scaled
            }
            None => low + scaled,
        };
        self.recorded.push(Choice { label, value });
        value
    }

    /// Decides whether something happens that happens so many times in a thousand.
    pub fn chance(&mut self, label: &'static str, per_mille: u64) -> bool {
        0 < per_mille && self.choose(label, 0..=999) < per_mille
    }

    /// Decides on one of several, all as likely.
    pub fn pick<T: Copy>(&mut self, label: &'static str, from: &[T]) -> T {
        from[self.index(label, from.len())]
    }

    /// Decides on an index below a length.
    pub fn index(&mut self, label: &'static str, length: usize) -> usize {
        let last = u64::try_from(length).expect("a length fits") - 1;
        usize::try_from(self.choose(label, 0..=last)).expect("below a length")
    }

    /// Any number.
    pub fn number(&mut self, label: &'static str) -> u64 {
        self.choose(label, 0..=u64::MAX)
    }

    /// Ends the stream: its name and what was decided.
    pub fn into_recorded(self) -> (String, Vec<Choice>) {
        (self.name, self.recorded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(stream: &mut Stream) -> Vec<u64> {
        (0..50).map(|_| stream.choose("draw", 3..=900)).collect()
    }

    #[test]
    fn streams_are_apart_and_depend_on_the_seed() {
        let mut choices = Choices::new(7);
        let [one, two] = ["one", "two"].map(|name| draw(&mut choices.stream(name)));
        assert_ne!(one, two);
        assert!(one.iter().all(|value| (3..=900).contains(value)));
        assert_eq!(one, draw(&mut Choices::new(7).stream("one")));
        assert_ne!(one, draw(&mut Choices::new(8).stream("one")));
    }

    #[test]
    fn a_recording_replays_under_any_seed() {
        let mut stream = Choices::new(7).stream("one");
        let drawn = draw(&mut stream);
        let recording = Recording::from([stream.into_recorded()]);
        assert_eq!(draw(&mut Choices::replay(8, recording).stream("one")), drawn);
    }

    #[test]
    fn a_replay_that_no_longer_fits_goes_on_from_the_seed() {
        let recording = Recording::from([("one".to_owned(), vec![Choice { label: "other", value: 5 }])]);
        let drawn = draw(&mut Choices::replay(7, recording).stream("one"));
        assert_eq!(drawn, draw(&mut Choices::new(7).stream("one")));
    }
}
