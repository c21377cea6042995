//! Taking hints that another node kept: counting what is stored of each batch, and saying how much may come next.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_ring::NodeId;
use quorate_ring::limits::HAND_BYTES_MAX;
use quorate_ring::wire::{ExchangeId, Taken};

use crate::Time;
use crate::limits::{HAND_BYTES_MIN, REPLICA_OPERATIONS_MAX, TAKING_PAUSE_MAX, TAKING_TIME, TAKINGS_MAX};

/// The batches of hints that are being stored, by who handed them over and the number of the exchange.
#[derive(Debug, Default)]
pub struct Takings {
    open: BTreeMap<(NodeId, ExchangeId), Taking>,
}

/// One batch: what is stored of it, by place, and how many are not decided.
#[derive(Debug)]
struct Taking {
    stored: Vec<bool>,
    left: usize,
    bytes: usize,
    began: Time,
}

/// A batch of which all is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// How many, from the first, are stored.
    pub stored: u32,
    /// About how many bytes the batch had.
    pub bytes: usize,
    /// How long it took.
    pub took: Duration,
}

impl Takings {
    /// Begins a batch of so many hints, at least one, and bytes. `false` if too many are under way, or this one is.
    pub fn begin(&mut self, now: Time, (from, exchange): (NodeId, ExchangeId), hints: usize, bytes: usize) -> bool {
        if TAKINGS_MAX <= self.open.len() || self.open.contains_key(&(from, exchange)) {
            return false;
        }
        self.open.insert((from, exchange), Taking { stored: vec![false; hints], left: hints, bytes, began: now });
        true
    }

    /// One of a batch is stored, or is not. When all are decided: what became of it.
    pub fn handle_stored(
        &mut self,
        now: Time,
        (from, exchange, index): (NodeId, ExchangeId, u32),
        stored: bool,
    ) -> Option<Done> {
        let taking = self.open.get_mut(&(from, exchange))?;
        *taking.stored.get_mut(index as usize)? = stored;
        taking.left = taking.left.saturating_sub(1);
        if 0 < taking.left {
            return None;
        }
        let taking = self.open.remove(&(from, exchange))?;
        let stored = u32::try_from(taking.stored.iter().take_while(|stored| **stored).count()).ok()?;
        Some(Done { stored, bytes: taking.bytes, took: now.since(taking.began) })
    }

    /// Whether this batch is under way: it came twice.
    pub fn is_open(&self, from: NodeId, exchange: ExchangeId) -> bool {
        self.open.contains_key(&(from, exchange))
    }

    /// Batches under way.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is under way.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// What a node grants after a batch, while so many operations wait for its store: the more wait, the less and the later. And no more than it
/// would store in a short time at the pace of that batch; if it was slow, it wants as long for other things before the next.
pub fn grant(done: Done, waiting: usize) -> Taken {
    let free = REPLICA_OPERATIONS_MAX.saturating_sub(waiting) as u64;
    let share = |whole: u64| whole * free / REPLICA_OPERATIONS_MAX as u64;
    let crowded = TAKING_PAUSE_MAX - Duration::from_micros(share(TAKING_PAUSE_MAX.as_micros() as u64));
    let slow = if done.took <= TAKING_TIME { Duration::ZERO } else { done.took.min(TAKING_PAUSE_MAX) };
    let (took, short) = (done.took.as_micros().max(1), TAKING_TIME.as_micros());
    let pace = u64::try_from(done.bytes as u128 * short / took).unwrap_or(u64::MAX);
    // One small hint says little of what a quick node could take.
    let pace = if done.took <= TAKING_TIME { u64::from(HAND_BYTES_MAX) } else { pace };
    Taken {
        stored: done.stored,
        grant_bytes: (share(u64::from(HAND_BYTES_MAX)).min(pace) as u32).max(HAND_BYTES_MIN),
        pause_millis: crowded.max(slow).as_millis() as u32,
    }
}

/// What a node grants that was asked to take nothing.
pub fn grant_of_nothing(waiting: usize) -> Taken {
    grant(Done { stored: 0, bytes: 0, took: Duration::ZERO }, waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXCHANGE: ExchangeId = ExchangeId(1);

    fn node(number: u32) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    fn after(millis: u64) -> Time {
        Time::from_micros(millis * 1_000)
    }

    fn done(bytes: usize, millis: u64) -> Done {
        Done { stored: 7, bytes, took: Duration::from_millis(millis) }
    }

    #[test]
    fn a_batch_is_stored_as_far_as_its_first_that_is_not() {
        let mut takings = Takings::default();
        let batch = (node(1), EXCHANGE);
        assert!(takings.begin(after(5), batch, 3, 100) && !takings.begin(after(5), batch, 3, 100));
        assert_eq!(takings.handle_stored(after(6), (node(1), EXCHANGE, 2), true), None);
        assert_eq!(takings.handle_stored(after(7), (node(1), EXCHANGE, 1), false), None);
        let done = Done { stored: 1, bytes: 100, took: Duration::from_millis(4) };
        assert_eq!(takings.handle_stored(after(9), (node(1), EXCHANGE, 0), true), Some(done));
        assert!(takings.is_empty());
    }

    #[test]
    fn batches_beyond_the_bound_are_not_begun() {
        let mut takings = Takings::default();
        let mut begin = |from, number| takings.begin(after(0), (node(from), ExchangeId(number)), 1, 1);
        assert!((0..TAKINGS_MAX as u64).all(|number| begin(1, number)));
        assert!(!begin(2, 0));
    }

    #[test]
    fn the_busier_a_node_is_the_less_it_grants_and_the_later() {
        let idle = grant(done(1_000, 1), 0);
        assert_eq!((idle.stored, idle.grant_bytes, idle.pause_millis), (7, HAND_BYTES_MAX, 0));
        let half = grant(done(1_000, 1), REPLICA_OPERATIONS_MAX / 2);
        assert!(half.grant_bytes < idle.grant_bytes && 400 < half.pause_millis);
        let full = grant(done(1_000, 1), REPLICA_OPERATIONS_MAX);
        assert_eq!((full.grant_bytes, full.pause_millis), (HAND_BYTES_MIN, 1_000));
    }

    #[test]
    fn a_node_that_stores_slowly_grants_what_it_would_store_in_a_short_time() {
        let slow = grant(done(100_000, 200), 0);
        assert_eq!((slow.grant_bytes, slow.pause_millis), (25_000, 200));
        let slower = grant(done(100_000, 20_000), 0);
        assert_eq!((slower.grant_bytes, slower.pause_millis), (HAND_BYTES_MIN, 1_000));
    }
}
