//! A store that was set back below the file system, where no start can see it: peers show it.

use quorate_ring::version::{Container, Dot, NodeClock};
use quorate_ring::{PartitionId, StoredValue};

use super::{Replica, Report};

/// Why a replica stops whose store is an old copy of itself: to go on as this actor would number its writes twice.
pub const SET_BACK: &str =
    "a peer has writes of this node's that its store does not: the disk was set back; start it with --new-incarnation";

impl Replica {
    /// Whether a peer has an event of this very actor that this store does not: the store was set back below the file system,
    /// where no start can see it. Going on would give the same dot to two events.
    pub(super) fn is_set_back(&self, partition: PartitionId, theirs: &Container<StoredValue>, dots: &[Dot]) -> bool {
        let actor = self.actor_of(partition);
        let own = self.clocks.base(partition).counter(actor);
        let mut vouched = theirs.dots().chain(dots.iter().copied());
        vouched.any(|dot| dot.actor == actor && own < dot.counter)
    }

    /// Refuses to go on if a peer's clock has events of this very actor that this store does not.
    pub fn check_set_back(&mut self, partition: PartitionId, theirs: &NodeClock) {
        let actor = self.actor_of(partition);
        let last = Dot::new(actor, theirs.base().counter(actor));
        let beyond = theirs.beyond().filter(|dot| dot.actor == actor).last();
        if !self.clocks.base(partition).covers(&beyond.unwrap_or(last)) {
            self.set_back();
        }
    }

    pub(super) fn set_back(&mut self) {
        self.fall_behind();
        self.reports.push_back(Report::SetBack);
        self.poison(SET_BACK.to_owned());
    }
}
