//! Values whose time has come: never shown, and removed where they are met.
//!
//! A value that is dropped from a container leaves its dot covered, by the vector or by the clock's base. So whatever still has the
//! value and sends it, a peer, a hint or a repair, does not bring it back here, and takes over from here that it is gone.

use quorate_ring::version::Container;
use quorate_ring::{PartitionId, StoredValue, WallTime};

use super::Replica;

impl Replica {
    /// What the wall clock shows from now on; never less than before.
    pub fn set_wall(&mut self, wall: WallTime) {
        self.wall = wall;
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
