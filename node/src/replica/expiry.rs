//! Values whose time has come: never shown, and removed where they are met.
//!
//! A value that is dropped from a container leaves its dot covered, by the vector or by the clock's base. So whatever still has the
//! value and sends it, a peer, a hint or a repair, does not bring it back here, and takes over from here that it is gone.

use quorate_ring::version::Container;
use quorate_ring::{PartitionId, StoredValue, WallTime};

use super::{Asker, KeyOperation, Replica};

impl Replica {
    /// What the wall clock shows from now on; never less than before.
    pub fn set_wall(&mut self, wall: WallTime) {
        self.wall = wall;
    }

    /// What is to be done next where an operation meets this container. A read that meets an expired value waits until its removal is
    /// stored: a clock that is set back, and a restart, must not show again what was once said to be gone.
    pub(super) fn tidy_first(
        &mut self,
        operation: KeyOperation,
        container: &Container<StoredValue>,
    ) -> (KeyOperation, Option<KeyOperation>) {
        match operation {
            KeyOperation::Read { .. } if container.has_expired(self.wall) => {
                self.waiting += 1;
                (KeyOperation::Tidy { asker: Asker::Nobody }, Some(operation))
            }
            operation => (operation, None),
        }
    }

    /// A stored container without what has expired and what the base says by now; nothing if it is so already.
    pub(super) fn tidied(
        &self,
        partition: PartitionId,
        stored: &Container<StoredValue>,
    ) -> Option<Container<StoredValue>> {
        let mut tidy = self.strip(partition, stored.clone());
        let expired = tidy.expire(self.wall);
        (0 < expired || tidy.vector() != stored.vector()).then_some(tidy)
    }
}
