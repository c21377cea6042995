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
    /// A change is being written.
    Writing {
        /// Who is told when it is stored.
        asker: Asker,
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
        Self { state: State::Writing { asker, container }, queue: VecDeque::new(), writing_bytes }
    }
}
