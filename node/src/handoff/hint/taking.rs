//! Taking hints that another node kept: counting what is stored of each batch, and saying how much may come next.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_ring::NodeId;
use quorate_ring::limits::HAND_BYTES_MAX;
use quorate_ring::wire::{ExchangeId, Taken};

use crate::limits::{HAND_BYTES_FIRST, REPLICA_OPERATIONS_MAX, TAKING_PAUSE_MAX, TAKINGS_MAX};

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
}

impl Takings {
    /// Begins a batch of so many, at least one. `false` if too many are under way, or this one is.
    pub fn begin(&mut self, from: NodeId, exchange: ExchangeId, hints: usize) -> bool {
        if TAKINGS_MAX <= self.open.len() || self.open.contains_key(&(from, exchange)) {
            return false;
        }
        self.open.insert((from, exchange), Taking { stored: vec![false; hints], left: hints });
        true
    }

    /// One of a batch is stored, or is not. When all are decided: how many, from the first, are stored.
    pub fn handle_stored(&mut self, from: NodeId, exchange: ExchangeId, index: u32, stored: bool) -> Option<u32> {
        let taking = self.open.get_mut(&(from, exchange))?;
        *taking.stored.get_mut(index as usize)? = stored;
        taking.left = taking.left.saturating_sub(1);
        if 0 < taking.left {
            return None;
        }
        let taking = self.open.remove(&(from, exchange))?;
        u32::try_from(taking.stored.iter().take_while(|stored| **stored).count()).ok()
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

/// What a node grants that has stored so many of a batch, while so many operations wait for its store: the more wait, the less and the
/// later.
pub fn grant(stored: u32, waiting: usize) -> Taken {
    let free = REPLICA_OPERATIONS_MAX.saturating_sub(waiting) as u64;
    let share = |whole: u64| whole * free / REPLICA_OPERATIONS_MAX as u64;
    let pause = TAKING_PAUSE_MAX - Duration::from_micros(share(TAKING_PAUSE_MAX.as_micros() as u64));
    Taken {
        stored,
        grant_bytes: (share(u64::from(HAND_BYTES_MAX)) as u32).max(HAND_BYTES_FIRST),
        pause_millis: pause.as_millis() as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u32) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    #[test]
    fn a_batch_is_stored_as_far_as_its_first_that_is_not() {
        let mut takings = Takings::default();
        let exchange = ExchangeId(1);
        assert!(takings.begin(node(1), exchange, 3) && !takings.begin(node(1), exchange, 3));
        assert_eq!(takings.handle_stored(node(1), exchange, 2, true), None);
        assert_eq!(takings.handle_stored(node(1), exchange, 1, false), None);
        assert_eq!(takings.handle_stored(node(1), exchange, 0, true), Some(1));
        assert!(takings.is_empty());
    }

    #[test]
    fn batches_beyond_the_bound_are_not_begun() {
        let mut takings = Takings::default();
        assert!((0..TAKINGS_MAX as u64).all(|number| takings.begin(node(1), ExchangeId(number), 1)));
        assert!(!takings.begin(node(2), ExchangeId(0), 1));
    }

    #[test]
    fn the_busier_a_node_is_the_less_it_grants_and_the_later() {
        let idle = grant(7, 0);
        assert_eq!((idle.stored, idle.grant_bytes, idle.pause_millis), (7, HAND_BYTES_MAX, 0));
        let half = grant(7, REPLICA_OPERATIONS_MAX / 2);
        assert!(half.grant_bytes < idle.grant_bytes && 400 < half.pause_millis);
        let full = grant(7, REPLICA_OPERATIONS_MAX);
        assert_eq!((full.grant_bytes, full.pause_millis), (HAND_BYTES_FIRST, 1_000));
    }
}
