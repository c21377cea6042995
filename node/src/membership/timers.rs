//! The timers of the failure detector, in order.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Identity;
use crate::Time;

type Timer = foca::Timer<Identity>;

/// What is to be given back to the protocol, and when. Of two that are due at once the one that was set first comes first. Nothing is ever
/// taken out early: the protocol recognises what is stale.
///
/// A node whose process stood still (stopped, swapped out, its machine suspended) finds all its timers overdue at once, and the answers that
/// came meanwhile unread. Taken at their word they would say that everybody else had failed. So **time stands still while nobody looks**: if
/// the first timer comes late by more than the tolerance, all are put off by as much, and by the tolerance again for the unread answers. That
/// is done once; the timers after it count however late they are, so that a node which is always late still finds failures.
pub(super) struct Timers {
    queue: BTreeMap<(Time, u64), Timer>,
    next_number: u64,
    tolerance: Duration,
    put_off: bool,
}

impl Timers {
    pub(super) fn new(tolerance: Duration) -> Self {
        Self { queue: BTreeMap::new(), next_number: 0, tolerance, put_off: false }
    }

    pub(super) fn set(&mut self, at: Time, timer: Timer) {
        self.queue.insert((at, self.next_number), timer);
        self.next_number += 1;
    }

    /// When the first is due.
    pub(super) fn first(&self) -> Option<Time> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// If this is far later than the first was due, puts off all; see the type.
    pub(super) fn forgive(&mut self, now: Time) {
        let Some(late) = self.first().map(|first| now.since(first)) else { return };
        let far = self.tolerance < late;
        if far && !self.put_off {
            let shift = late + self.tolerance;
            self.queue = std::mem::take(&mut self.queue)
                .into_iter()
                .map(|((at, number), timer)| ((at + shift, number), timer))
                .collect();
        }
        // A timer that is not due yet says nothing about whether this node keeps up.
        if far || self.first().is_some_and(|first| first <= now) {
            self.put_off = far && !self.put_off;
        }
    }

    /// Takes the first that is due.
    pub(super) fn pop(&mut self, now: Time) -> Option<Timer> {
        let first = self.queue.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn popped(timers: &mut Timers, millis: u64) -> Vec<Timer> {
        let now = Time::from_micros(millis * 1_000);
        timers.forgive(now);
        std::iter::from_fn(|| timers.pop(now)).collect()
    }

    fn timers(due_millis: &[u64]) -> Timers {
        let mut timers = Timers::new(Duration::from_millis(300));
        for (token, millis) in (0..).zip(due_millis) {
            timers.set(Time::from_micros(millis * 1_000), Timer::ProbeRandomMember(token));
        }
        timers
    }

    #[test]
    fn timers_come_in_the_order_of_their_times_and_then_as_they_were_set() {
        let mut timers = timers(&[20, 10, 20, 500]);
        let [first, second, third] = [1, 0, 2].map(Timer::ProbeRandomMember);
        assert_eq!(popped(&mut timers, 9), []);
        assert_eq!(popped(&mut timers, 30), [first, second, third]);
        assert_eq!(timers.first(), Some(Time::from_micros(500_000)));
    }

    #[test]
    fn time_stands_still_while_nobody_looks() {
        let mut timers = timers(&[1_000, 1_500]);
        assert_eq!(popped(&mut timers, 60_000), []);
        assert_eq!(timers.first(), Some(Time::from_micros(60_300_000)));
        assert_eq!(popped(&mut timers, 60_300), [Timer::ProbeRandomMember(0)]);
        assert_eq!(popped(&mut timers, 60_800), [Timer::ProbeRandomMember(1)]);
    }

    #[test]
    fn a_node_that_is_always_late_still_comes_to_its_timers() {
        let mut timers = timers(&[1_000]);
        assert_eq!(popped(&mut timers, 2_000), []);
        assert_eq!(popped(&mut timers, 4_000), [Timer::ProbeRandomMember(0)]);
    }
}
