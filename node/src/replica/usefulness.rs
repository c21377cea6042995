//! Work that nobody waits for any more.

use super::{KeyOperation, Replica, Report};
use crate::Time;
use quorate_ring::wire::ReplicaError;

impl Replica {
    /// An operation whose turn has come, if it is to be done. What is replicated becomes a merge; where too much waits, what came too late
    /// for its coordinator is refused instead.
    pub(super) fn still_useful(&mut self, now: Time, operation: KeyOperation) -> Option<KeyOperation> {
        let KeyOperation::Replicate { asker, container, dot, durability, deadline } = operation else {
            return Some(operation);
        };
        if deadline <= now && self.is_nearly_full() {
            self.waiting -= 1;
            self.reports.push_back(Report::Stored { asker, result: Err(ReplicaError::Overloaded) });
            return None;
        }
        Some(KeyOperation::Merge { asker, container, dots: vec![dot], durability })
    }
}
