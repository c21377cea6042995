//! How many requests a shard works on at once: as many as it answers before a queue stands.

use std::time::Duration;

use super::latency::Histogram;
use super::share::Shares;
use crate::Time;
use crate::limits::{COORDINATIONS_MAX, LIMIT_MIN, LIMIT_WINDOW, PACE_SAMPLES_MIN, STANDING_QUEUE};

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
///         each window: a queue stands  ──▶ what was answered in the time for which a request may queue, a quarter less at least,
///                                          not below the least
///                      none stands, or
///                      few were open   ──▶ an eighth more, not above the most
///                      little is seen  ──▶ the same
/// ```
///
/// A queue *stands* if even the quick requests of a window (the 10th percentile) took longer than is usual, by more than a request may
/// queue. That is CoDel's sign (Nichols and Jacobson: "Controlling Queue Delay", CACM 2012; for servers: Maurer, "Fail at Scale", ACM Queue
/// 2015), but for the very quickest, which may be of another sort: a burst makes a queue that goes away by itself, and the first requests of
/// it are quick. As many as are answered in a time are, by Little's law, those that have a queue of that time before them. Requests beyond the
/// limit are refused before anything is done for them; were they let in, all would wait until nobody waits for their answers any more, and
/// the work would be for nothing.
///
/// What is *usual* is learned where next to no queue can be: upwards only from windows in which, as in the one before, no more requests than the
/// least limit were open. In such a window nothing stands either, however slow a disk is. Where peers are far away the limit may go down to
/// the least before that is known; then it grows again.
///
/// There is no clock in it and no timer: a window ends with the first request or answer after its time. Where many windows have passed by then
/// and nothing is open, nothing stood in those behind.
#[derive(Clone, Debug)]
pub struct Limit {
    most: usize,
    /// When it came down last. What began before says nothing of whether that was enough.
    lowered_at: Time,
    window_from: Time,
    /// When a request was over last.
    answered_at: Time,
    /// How many were over when the window began.
    ended_before: usize,
    /// The most that were open at once.
    highest: usize,
    /// Whether so few were open in the window before that they could not queue.
    was_quiet: bool,
    reads: Quick,
    writes: Quick,
}

/// Of one kind.
#[derive(Clone, Debug, Default)]
struct Quick {
    /// Of the window, and of those before it with too few.
    seen: Histogram,
    /// Whether in one of these more were open than cannot queue.
    is_crowded: bool,
    usual: Option<Duration>,
}

impl Default for Limit {
    fn default() -> Self {
        Self {
            most: COORDINATIONS_MAX,
            lowered_at: Time::default(),
            window_from: Time::default(),
            answered_at: Time::default(),
            ended_before: 0,
            highest: 0,
            was_quiet: true,
            reads: Quick::default(),
            writes: Quick::default(),
        }
    }
}

impl Limit {
    /// Whether one more may be worked on, beside those that are.
    pub fn has_room(&mut self, now: Time, shares: &Shares) -> bool {
        self.roll(now, shares);
        let has_room = shares.whole() < self.most;
        self.highest = self.highest.max(shares.whole() + usize::from(has_room));
        has_room
    }

    /// A request succeeded after so long.
    pub fn handle_answered(&mut self, now: Time, shares: &Shares, kind: Kind, took: Duration) {
        self.roll(now, shares);
        self.highest = self.highest.max(shares.whole());
        self.answered_at = now;
        if now.since(self.lowered_at) < took {
            return;
        }
        let quick = match kind {
            Kind::Read => &mut self.reads,
            Kind::Write => &mut self.writes,
        };
        quick.seen.record(took);
    }

    /// The most that are worked on at once for now.
    pub const fn most(&self) -> usize {
        self.most
    }

    /// Ends the window, if its time is over.
    fn roll(&mut self, now: Time, shares: &Shares) {
        let windows = now.since(self.window_from).as_micros() / LIMIT_WINDOW.as_micros();
        if windows == 0 {
            return;
        }
        let is_quiet = self.highest <= LIMIT_MIN;
        let is_alone = is_quiet && self.was_quiet;
        let stand = [&mut self.reads, &mut self.writes].map(|quick| quick.roll(is_alone));
        let rest = if shares.whole() == 0 { u32::try_from(windows).unwrap_or(u32::MAX) - 1 } else { 0 };
        if stand.contains(&Some(true)) {
            let length = self.answered_at.since(self.window_from).max(LIMIT_WINDOW);
            let of_time =
                (shares.ended() - self.ended_before) as u128 * STANDING_QUEUE.as_micros() / length.as_micros();
            let less = usize::try_from(of_time).unwrap_or(usize::MAX).min(self.most / 4 * 3);
            self.most = less.max(LIMIT_MIN);
            self.lowered_at = now;
            self.grow(rest);
        } else if stand.contains(&Some(false)) || is_alone && self.highest < self.most {
            self.grow(rest.saturating_add(1));
        }
        self.was_quiet = is_quiet;
        (self.window_from, self.ended_before, self.highest) = (now, shares.ended(), shares.whole());
    }

    /// So many windows in which nothing stood.
    fn grow(&mut self, windows: u32) {
        for _ in 0..windows {
            if self.most == COORDINATIONS_MAX {
                return;
            }
            self.most = (self.most + self.most / 8).min(COORDINATIONS_MAX);
        }
    }
}

impl Quick {
    /// Ends a window, and says whether a queue stood; `None` if too little was seen. Where requests were so few that they could not queue, nothing
    /// stood.
    fn roll(&mut self, is_alone: bool) -> Option<bool> {
        self.is_crowded |= !is_alone;
        if self.seen.samples() < PACE_SAMPLES_MIN {
            return None;
        }
        let (seen, is_alone) = (self.seen.percentile(10), !self.is_crowded);
        self.seen.clear();
        self.is_crowded = false;
        let stands = !is_alone && self.usual.unwrap_or_default() + STANDING_QUEUE < seen;
        self.usual = match self.usual {
            None => is_alone.then_some(seen),
            Some(usual) if seen < usual => Some(usual - (usual - seen) / 8),
            Some(usual) if is_alone => Some(usual + (seen - usual) / 8),
            usual => usual,
        };
        Some(stands)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::SessionId;
    use crate::admission::share::Party;

    /// A shard's limit and its requests.
    #[derive(Default)]
    struct Model {
        limit: Limit,
        shares: Shares,
    }

    /// What became of requests that came at a steady rate.
    struct Served {
        refused: usize,
        /// How long each took, in the order in which they ended.
        took: Vec<Duration>,
        most: usize,
    }

    impl Model {
        /// Requests come every `every` to a server that needs `work` for one after the other; the answer to each is some time longer under way.
        fn serve(
            &mut self,
            from: Time,
            count: u32,
            every: Duration,
            work: Duration,
            way: impl Fn(u32) -> Duration,
        ) -> Served {
            let mut under_way: BTreeSet<(Time, u32, Time)> = BTreeSet::new();
            let mut free = from;
            let mut served = Served { refused: 0, took: Vec::new(), most: 0 };
            for number in 0..count {
                let now = from + every * number;
                self.end(&mut under_way, now, &mut served);
                if self.limit.has_room(now, &self.shares) {
                    self.shares.begin(PARTY);
                    free = free.max(now) + work;
                    under_way.insert((free + way(number), number, now));
                } else {
                    served.refused += 1;
                }
                served.most = served.most.max(under_way.len());
            }
            self.end(&mut under_way, Time::from_micros(u64::MAX), &mut served);
            served
        }

        fn end(&mut self, under_way: &mut BTreeSet<(Time, u32, Time)>, now: Time, served: &mut Served) {
            while under_way.first().is_some_and(|(ends, ..)| *ends <= now) {
                let (ends, _, begun) = under_way.pop_first().expect("there is one");
                self.shares.end(PARTY);
                self.limit.handle_answered(ends, &self.shares, Kind::Write, ends.since(begun));
                served.took.push(ends.since(begun));
            }
        }
    }

    const MICROS: Duration = Duration::from_micros(1);
    const PARTY: Party = Party::Session(SessionId(1));

    /// So many that are open.
    fn open(count: usize) -> Shares {
        let mut shares = Shares::default();
        (0..count).for_each(|_| shares.begin(PARTY));
        shares
    }
    fn second(number: u64) -> Time {
        Time::from_micros(number * 1_000_000)
    }

    #[test]
    fn who_keeps_up_refuses_nobody_however_many_come_at_once() {
        let mut model = Model::default();
        let burst = model.serve(second(1), 4_000, Duration::ZERO, MICROS * 100, |_| MICROS);
        let steady = model.serve(second(2), 50_000, MICROS * 110, MICROS * 100, |_| MICROS);
        assert_eq!((burst.refused, steady.refused), (0, 0));
    }

    #[test]
    fn what_is_let_in_at_three_times_the_load_is_answered_soon_and_as_many_as_can_be() {
        let seconds = 20;
        let served = Model::default().serve(second(1), 30_000 * seconds, MICROS * 100 / 3, MICROS * 100, |_| MICROS);
        let answered = served.took.len();
        assert!(9_500 * seconds as usize <= answered, "{answered} of at most {}", 10_000 * seconds);
        let late = served.took.iter().skip(20_000).filter(|took| STANDING_QUEUE * 2 < **took).count();
        assert_eq!(late, 0, "after the first two seconds");
        assert!(served.most < COORDINATIONS_MAX);
    }

    #[test]
    fn peers_far_away_are_no_queue() {
        let mut model = Model::default();
        let far = |_| STANDING_QUEUE * 2;
        model.serve(second(1), 150_000, MICROS * 100, MICROS * 10, far);
        let later = model.serve(second(60), 200_000, MICROS * 100, MICROS * 10, far);
        assert_eq!(later.refused, 0, "once it is known, the limit is {}", model.limit.most());
    }

    #[test]
    fn a_few_that_are_quick_do_not_make_the_others_slow() {
        let mut model = Model::default();
        let mostly_far = |number| if number % 50 == 0 { MICROS } else { STANDING_QUEUE * 3 / 2 };
        model.serve(second(1), 30_000, MICROS * 1_000, MICROS, mostly_far);
        let later = model.serve(second(60), 30_000, MICROS * 1_000, MICROS, mostly_far);
        assert_eq!(later.refused, 0, "the limit is {}", model.limit.most());
    }

    #[test]
    fn a_kind_that_is_quick_does_not_hide_a_queue_of_the_other() {
        let (mut limit, shares) = (Limit::default(), open(1_000));
        for number in 0..100 {
            let now = second(1) + MICROS * 10_000 * number;
            limit.has_room(now, &shares);
            limit.handle_answered(now, &shares, Kind::Read, MICROS);
            limit.handle_answered(now, &shares, Kind::Write, STANDING_QUEUE * 2);
        }
        assert!(limit.most() < 1_000);
    }

    #[test]
    fn one_slow_request_on_an_idle_shard_is_no_queue() {
        let mut limit = Limit::default();
        for number in 0..20 {
            let now = second(number);
            assert!(limit.has_room(now, &open(0)));
            limit.handle_answered(now + STANDING_QUEUE * 2, &open(1), Kind::Write, STANDING_QUEUE * 2);
        }
        assert_eq!(limit.most(), COORDINATIONS_MAX);
    }

    #[test]
    fn after_a_rest_there_is_room_again() {
        let mut model = Model::default();
        model.serve(second(1), 100_000, MICROS * 100 / 3, MICROS * 100, |_| MICROS);
        assert!(model.limit.most() < COORDINATIONS_MAX);
        model.serve(second(60), PACE_SAMPLES_MIN + 1, STANDING_QUEUE * 2, MICROS * 100, |_| MICROS);
        assert_eq!(model.limit.most(), COORDINATIONS_MAX);
    }

    proptest! {
        #[test]
        fn it_is_always_within_its_bounds(steps in proptest::collection::vec((0u64..1_000_000, 0usize..20_000, 0u64..2_000_000), 1..300)) {
            let (mut limit, mut now) = (Limit::default(), second(1));
            for (passed, open, took) in steps {
                now = now + Duration::from_micros(passed);
                let (shares, kind) = (super::tests::open(open), if open % 2 == 0 { Kind::Read } else { Kind::Write });
                limit.has_room(now, &shares);
                limit.handle_answered(now, &shares, kind, Duration::from_micros(took));
                prop_assert!((LIMIT_MIN..=COORDINATIONS_MAX).contains(&limit.most()));
            }
        }
    }
}
