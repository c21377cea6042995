//! How much is sent to a node that refuses some of it.
//!
//! A refusal costs a node less than the request would, and not nothing: clients that go on asking for three times what it can do, and try
//! again what it refuses, keep it busy with refusing. So they hold back by themselves what would most likely be refused (Beyer et al.:
//! "Site Reliability Engineering", 2016, chapter 21, "client-side throttling").

use std::time::Duration;

use crate::Time;

/// A node is sent, in halves, at most so many requests for each one that it takes: half as many again, so that it is noticed at once when it
/// can take more.
const SENT_PER_TAKEN_HALVES: u64 = 3;
/// How long until what was seen counts half.
const HALF_LIFE: Duration = Duration::from_millis(500);
/// So many requests count as taken before the first refusal, and beside all that are wanted: of a few some may be refused by chance.
const FEW: u64 = 16;
/// What one request counts, so that a half of it is a number.
const ONE: u64 = 1 << 10;

/// What became lately of requests to one node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Throttle {
    /// All, with those that were held back.
    wanted: u64,
    taken: u64,
    halved_at: Time,
}

impl Throttle {
    /// Before the first refusal.
    pub(crate) const fn new(now: Time) -> Self {
        Self { wanted: FEW * ONE, taken: FEW * ONE, halved_at: now }
    }

    /// The node took a request.
    pub(crate) fn note_taken(&mut self, now: Time) {
        self.note_wanted(now);
        self.taken += ONE;
    }

    /// The node refused a request as too much, or it was held back because the node would.
    pub(crate) fn note_refused(&mut self, now: Time) {
        self.note_wanted(now);
    }

    fn note_wanted(&mut self, now: Time) {
        let halvings = self.halvings(now);
        (self.wanted, self.taken) = (halved(self.wanted, halvings) + ONE, halved(self.taken, halvings));
        self.halved_at = self.halved_at + HALF_LIFE.saturating_mul(halvings);
    }

    /// Of 2³² requests, how many to hold back.
    pub(crate) fn held_back(&self, now: Time) -> u64 {
        let halvings = self.halvings(now);
        let (wanted, taken) = (halved(self.wanted, halvings), halved(self.taken, halvings));
        (wanted.saturating_sub(taken * SENT_PER_TAKEN_HALVES / 2) << 32) / (wanted + FEW * ONE)
    }

    fn halvings(&self, now: Time) -> u32 {
        let halvings = now.since(self.halved_at).as_micros() / HALF_LIFE.as_micros();
        u32::try_from(halvings).unwrap_or(u32::MAX)
    }
}

fn halved(number: u64, halvings: u32) -> u64 {
    number.checked_shr(halvings).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rand::rngs::ChaCha8Rng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Requests at a steady rate to a node that takes no more than so many in each 10 ms; how many were sent and how many taken in the last second.
    fn last_second(throttle: &mut Throttle, from: u64, seconds: u64, rate: u64, most: u64) -> (u64, u64) {
        let mut chance = ChaCha8Rng::seed_from_u64(1);
        let (mut sent, mut taken, mut room) = (0, 0, most);
        for number in 0..seconds * rate {
            let micros = from * 1_000_000 + number * 1_000_000 / rate;
            let now = Time::from_micros(micros);
            if number % (rate / 100) == 0 {
                room = most;
            }
            if number == (seconds - 1) * rate {
                (sent, taken) = (0, 0);
            }
            if u64::from(chance.random::<u32>()) < throttle.held_back(now) {
                throttle.note_refused(now);
                continue;
            }
            sent += 1;
            match room {
                0 => throttle.note_refused(now),
                _ => {
                    (room, taken) = (room - 1, taken + 1);
                    throttle.note_taken(now);
                }
            }
        }
        (sent, taken)
    }

    #[test]
    fn who_takes_everything_is_sent_everything() {
        let mut throttle = Throttle::new(Time::default());
        assert_eq!(last_second(&mut throttle, 0, 3, 1_000, 10), (1_000, 1_000));
    }

    #[test]
    fn who_takes_a_part_is_sent_half_as_many_again_as_it_takes() {
        let mut throttle = Throttle::new(Time::default());
        let (sent, taken) = last_second(&mut throttle, 0, 10, 10_000, 20);
        assert_eq!(taken, 2_000, "it is kept busy");
        assert!((2_800..3_200).contains(&sent), "{sent}");
        let (sent, taken) = last_second(&mut throttle, 10, 10, 10_000, 100);
        assert_eq!((sent, taken), (10_000, 10_000), "it takes everything again");
    }

    #[test]
    fn who_takes_nothing_is_asked_still() {
        let mut throttle = Throttle::new(Time::default());
        let (sent, taken) = last_second(&mut throttle, 0, 10, 10_000, 0);
        assert!(0 < sent && sent < 200 && taken == 0, "{sent}");
        let (sent, taken) = last_second(&mut throttle.clone(), 10, 10, 10_000, 100);
        assert_eq!((sent, taken), (10_000, 10_000), "it takes everything again");
        let later = Time::from_micros(60_000_000);
        assert_eq!(throttle.held_back(later), 0, "what was seen long ago is forgotten");
    }

    #[test]
    fn of_few_requests_some_may_be_refused_by_chance() {
        let mut throttle = Throttle::new(Time::default());
        (0..8).for_each(|_| throttle.note_refused(Time::default()));
        assert_eq!(throttle.held_back(Time::default()), 0);
    }
}
