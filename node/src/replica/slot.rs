//! A key that is being worked on. The diagram is in the parent module.

use std::collections::VecDeque;

use quorate_ring::StoredValue;
use quorate_ring::version::Container;

use super::{Asker, KeyOperation, bytes_of};

/// What waits for a key, and what is going on with it.
pub(super) struct Slot {
    pub(super) state: State,
    pub(super) queue: VecDeque<KeyOperation>,
    /// Bytes of values that are being written.
    pub(super) writing_bytes: usize,
}

/// What is going on with a key.
pub(super) enum State {
    /// Nothing: only while the replica holds the slot in its hand.
    Idle,
    /// Its container is being read.
    Reading,
    /// Changes are being written.
    Writing {
        /// Who is told when they are stored.
        askers: Vec<Asker>,
        /// What is stored then, stripped.
        container: Container<StoredValue>,
    },
}

impl Slot {
    /// A key that nobody worked on, with its first operation.
    pub(super) fn reading(first: KeyOperation) -> Self {
        Self { state: State::Reading, queue: VecDeque::from([first]), writing_bytes: 0 }
    }

    /// A key that nobody worked on, and that is written with others.
    pub(super) fn writing(asker: Asker, container: Container<StoredValue>) -> Self {
        let writing_bytes = bytes_of(&container);
        Self { state: State::Writing { askers: vec![asker], container }, queue: VecDeque::new(), writing_bytes }
    }

    /// Moves what only reads to the front of the queue; whether there is any.
    pub(super) fn reads_first(&mut self) -> bool {
        let is_read = |operation: &KeyOperation| matches!(operation, KeyOperation::Read { .. });
        self.queue.make_contiguous().sort_by_key(|operation| !is_read(operation));
        self.queue.front().is_some_and(is_read)
    }
}
