//! How many requests a shard works on at once: as many as it answers before a queue stands.

use std::time::Duration;

use crate::Time;
use crate::limits::{COORDINATIONS_MAX, LIMIT_MIN, LIMIT_WINDOW, STANDING_QUEUE};

/// What a request does. Each has a latency of its own: a read may need nothing but memory, a write the disks of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A get.
    Read,
    /// A put or a delete.
    Write,
}

/// The limit of one shard.
///
/// ```text
///         each window: a queue stands ──▶ what was answered in the time for which a request may queue, not below the least
///                      none stands    ──▶ an eighth more, not above the most
/// ```
///
/// A queue *stands* if even the quickest request of a window took longer than is usual, by more than a request may queue. That is CoDel's
/// sign (Nichols and Jacobson: "Controlling Queue Delay", CACM 2012; for servers: Maurer, "Fail at Scale", ACM Queue 2015): a burst makes
/// a queue that goes away by itself, and the first requests of it are quick. As many as are answered in a time are, by Little's law, those
/// that have a queue of that time before them. Requests beyond the limit are refused before anything is done for them; were they let
/// in, all would wait until nobody waits for their answers any more, and the work would be for nothing.
///
/// What is *usual* is learned where no queue can be: from windows with no more requests at once than the least limit, and whenever a
/// request is quicker. Where peers are far away, or disks slow, the limit may go down to the least before that is known; then it
/// grows again.
///
/// There is no clock in it and no timer: a window ends with the first answer or refusal after its time.
#[derive(Clone, Debug)]
pub struct Limit {
    most: usize,
    /// When it came down last. What began before says nothing of whether that was enough.
    lowered_at: Time,
    window_from: Time,
    answered: usize,
    /// The most that were worked on at once.
    highest: usize,
    reads: Quickest,
    writes: Quickest,
}

/// Of one kind.
#[derive(Clone, Debug, Default)]
struct Quickest {
    of_window: Option<Duration>,
    usual: Option<Duration>,
}

impl Default for Limit {
    fn default() -> Self {
        Self {
            most: COORDINATIONS_MAX,
            lowered_at: Time::default(),
            window_from: Time::default(),
            answered: 0,
            highest: 0,
            reads: Quickest::default(),
            writes: Quickest::default(),
        }
    }
}

impl Limit {
    /// Whether one more may be worked on, beside so many.
    pub fn has_room(&mut self, now: Time, open: usize) -> bool {
        self.roll(now);
        let has_room = open < self.most;
        self.highest = self.highest.max(open + usize::from(has_room));
        has_room
    }

    /// A request succeeded after so long.
    pub fn handle_answered(&mut self, now: Time, kind: Kind, took: Duration) {
        self.roll(now);
        self.answered += 1;
        if now.since(self.lowered_at) < took {
            return;
        }
        let quickest = match kind {
            Kind::Read => &mut self.reads,
            Kind::Write => &mut self.writes,
        };
        quickest.of_window = Some(quickest.of_window.map_or(took, |shortest| shortest.min(took)));
    }

    /// The most that are worked on at once for now.
    pub const fn most(&self) -> usize {
        self.most
    }

    /// Ends the window, if its time is over. Where nothing was seen the limit stays.
    fn roll(&mut self, now: Time) {
        let length = now.since(self.window_from);
        if length < LIMIT_WINDOW {
            return;
        }
        let is_alone = self.highest <= LIMIT_MIN;
        let stand = [&mut self.reads, &mut self.writes].map(|quickest| quickest.roll(is_alone));
        if stand.contains(&Some(true)) {
            let of_time = self.answered as u128 * STANDING_QUEUE.as_micros() / length.as_micros();
            self.most = usize::try_from(of_time).unwrap_or(usize::MAX).clamp(LIMIT_MIN, self.most);
            self.lowered_at = now;
        } else if stand.contains(&Some(false)) {
            self.most = (self.most + self.most / 8).min(COORDINATIONS_MAX);
        }
        (self.window_from, self.answered, self.highest) = (now, 0, 0);
    }
}

impl Quickest {
    /// Ends a window, in which there were few requests at once or not, and says whether a queue stood; `None` if nothing was seen.
    fn roll(&mut self, is_alone: bool) -> Option<bool> {
        let seen = self.of_window.take()?;
        let stands = self.usual.unwrap_or_default() + STANDING_QUEUE < seen;
        self.usual = match self.usual {
            None => is_alone.then_some(seen),
            Some(usual) if seen < usual => Some(seen),
            Some(usual) if is_alone => Some(usual + (seen - usual) / 8),
            usual => usual,
        };
        Some(stands)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// A server that answers one request after the other, and what became of requests that came at a steady rate.
    struct Served {
        refused: usize,
        /// How long each took, in the order in which they ended.
        took: Vec<Duration>,
        most: usize,
    }

    /// Requests come every `every`, each needs `work` of the server's time, and an answer is `way` longer under way.
    fn serve(limit: &mut Limit, from: Time, count: u32, every: Duration, work: Duration, way: Duration) -> Served {
        let mut under_way: VecDeque<(Time, Time)> = VecDeque::new();
        let mut free = from;
        let mut served = Served { refused: 0, took: Vec::new(), most: 0 };
        for number in 0..count {
            let now = from + every * number;
            while under_way.front().is_some_and(|(_, ends)| *ends <= now) {
                let (begun, ends) = under_way.pop_front().expect("there is one");
                limit.handle_answered(ends, Kind::Write, ends.since(begun));
                served.took.push(ends.since(begun));
            }
            if limit.has_room(now, under_way.len()) {
                free = free.max(now) + work;
                under_way.push_back((now, free + way));
            } else {
                served.refused += 1;
            }
            served.most = served.most.max(under_way.len());
        }
        served
    }

    const MICROS: Duration = Duration::from_micros(1);
    fn second(number: u64) -> Time {
        Time::from_micros(number * 1_000_000)
    }

    #[test]
    fn who_keeps_up_refuses_nobody_however_many_come_at_once() {
        let mut limit = Limit::default();
        let burst = serve(&mut limit, second(1), 4_000, Duration::ZERO, MICROS * 100, MICROS);
        let steady = serve(&mut limit, second(2), 50_000, MICROS * 110, MICROS * 100, MICROS);
        assert_eq!((burst.refused, steady.refused), (0, 0));
    }

    #[test]
    fn what_is_let_in_at_three_times_the_load_is_answered_soon_and_as_many_as_can_be() {
        let mut limit = Limit::default();
        let (work, seconds) = (MICROS * 100, 20);
        let served = serve(&mut limit, second(1), 30_000 * seconds, MICROS * 100 / 3, work, MICROS);
        let answered = served.took.len();
        assert!(9_500 * seconds as usize <= answered, "{answered} of at most {}", 10_000 * seconds);
        let late = served.took.iter().skip(20_000).filter(|took| STANDING_QUEUE * 2 < **took).count();
        assert_eq!(late, 0, "after the first two seconds");
        assert!(served.most < COORDINATIONS_MAX);
    }

    #[test]
    fn peers_far_away_are_no_queue() {
        let mut limit = Limit::default();
        let way = STANDING_QUEUE * 2;
        serve(&mut limit, second(1), 150_000, MICROS * 100, MICROS * 10, way);
        let later = serve(&mut limit, second(60), 200_000, MICROS * 100, MICROS * 10, way);
        assert_eq!(later.refused, 0, "once it is known, the limit is {}", limit.most());
    }

    #[test]
    fn a_kind_that_is_quick_does_not_hide_a_queue_of_the_other() {
        let mut limit = Limit::default();
        for number in 0..100 {
            let now = second(1) + MICROS * 10_000 * number;
            limit.has_room(now, 1_000);
            limit.handle_answered(now, Kind::Read, MICROS);
            limit.handle_answered(now, Kind::Write, STANDING_QUEUE * 2);
        }
        assert!(limit.most() < 1_000);
    }

    #[test]
    fn after_a_rest_there_is_room_again() {
        let mut limit = Limit::default();
        serve(&mut limit, second(1), 100_000, MICROS * 100 / 3, MICROS * 100, MICROS);
        assert!(limit.most() < COORDINATIONS_MAX);
        serve(&mut limit, second(60), 100, Duration::from_millis(500), MICROS * 100, MICROS);
        assert_eq!(limit.most(), COORDINATIONS_MAX);
    }

    proptest! {
        #[test]
        fn it_is_always_within_its_bounds(steps in proptest::collection::vec((0u64..1_000_000, 0usize..20_000, 0u64..2_000_000), 1..300)) {
            let (mut limit, mut now) = (Limit::default(), second(1));
            for (passed, open, took) in steps {
                now = now + Duration::from_micros(passed);
                limit.has_room(now, open);
                limit.handle_answered(now, if open % 2 == 0 { Kind::Read } else { Kind::Write }, Duration::from_micros(took));
                prop_assert!((LIMIT_MIN..=COORDINATIONS_MAX).contains(&limit.most()));
            }
        }
    }
}
