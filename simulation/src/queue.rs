//! The events to come: by virtual time, and among equals in the order in which they were scheduled.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use quorate_node::Time;

/// The events to come.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Scheduled<E>>,
    scheduled: u64,
}

#[derive(Debug)]
struct Scheduled<E> {
    at: Time,
    sequence: u64,
    event: E,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), scheduled: 0 }
    }
}

impl<E> Queue<E> {
    /// Schedules an event.
    pub(crate) fn push(&mut self, at: Time, event: E) {
        let sequence = self.scheduled;
        self.scheduled += 1;
        self.heap.push(Scheduled { at, sequence, event });
    }

    /// The next event, if it is due by then.
    pub(crate) fn pop(&mut self, until: Time) -> Option<(Time, E)> {
        if until < self.heap.peek()?.at {
            return None;
        }
        self.heap.pop().map(|scheduled| (scheduled.at, scheduled.event))
    }
}

impl<E> Ord for Scheduled<E> {
    /// Reversed, as the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl<E> PartialOrd for Scheduled<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Scheduled<E> {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl<E> Eq for Scheduled<E> {}
