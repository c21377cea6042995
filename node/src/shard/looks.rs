//! What can be seen of a shard from outside: figures for its operator, and what the simulator checks. Nothing here changes anything.

use quorate_ring::layout::Placement;
use quorate_ring::wire::SyncStatus;
use quorate_ring::{NodeId, WallTime};

use super::{Coordination, CoordinationId, Counters, Shard, Timer};
use crate::Time;
use crate::anti_entropy::AntiEntropy;
use crate::replica::Replica;

impl Shard {
    /// What was counted since the start.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Background messages that wait for the budget.
    pub fn background_waiting(&self) -> usize {
        self.background.len()
    }

    /// Requests that wait for their answers, a batch's items singly, as their shares are counted, and as they are: the two are the same.
    pub fn open_requests(&self) -> (usize, usize) {
        let is_open = |(id, coordination): &(&CoordinationId, &Coordination)| {
            !matches!(coordination, Coordination::Batch(_)) && !self.lingering.contains(id)
        };
        (self.shares.whole(), self.coordinations.iter().filter(is_open).count())
    }

    /// The most requests that are worked on at once for now.
    pub const fn request_limit(&self) -> usize {
        self.limit.most()
    }

    /// Bytes of values that requests hold.
    pub const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Requests being worked on.
    pub fn in_flight(&self) -> usize {
        self.coordinations.len()
    }

    /// Who holds what, as the shard goes by.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// When the shard next wants to be told the time for anything but the next comparison of clocks and what it leads to, the next page of the scrub,
    /// the next word about the layout, or the next probe of the failure detector, which are always due some time.
    pub fn next_request_deadline(&self) -> Option<Time> {
        let is_request = |timer: &Timer| {
            !matches!(timer, Timer::AntiEntropy | Timer::Prune | Timer::Scrub | Timer::Layout | Timer::Detector)
        };
        self.timers.iter().find(|(_, timer)| is_request(timer)).map(|(time, _)| *time)
    }

    /// Requests that wait for an answer of a peer.
    pub fn waiting_for(&self, peer: NodeId) -> usize {
        let waits = |coordination: &&Coordination| match coordination {
            Coordination::Get(read) => read.waits_for(peer),
            Coordination::Page(read) => read.waits_for(peer),
            Coordination::Write(write) => write.waits_for(peer),
            Coordination::Forward(forward) => forward.primary == peer,
            Coordination::Batch(_) => false,
        };
        self.coordinations.values().filter(waits).count()
    }

    /// Reads' questions that wait for a node's answer, as the ranking counts them, and as the reads do: the two are the same.
    pub fn open_questions(&self, node: NodeId) -> (usize, usize) {
        let of = |coordination: &Coordination| match coordination {
            Coordination::Get(read) => read.asking.open().filter(|open| *open == node).count(),
            Coordination::Page(read) => read.asking.open().filter(|open| *open == node).count(),
            Coordination::Write(_) | Coordination::Forward(_) | Coordination::Batch(_) => 0,
        };
        (self.ranking.open(node) as usize, self.coordinations.values().map(of).sum())
    }

    /// What the wall clock shows, as far as the shard goes by it.
    pub const fn wall(&self) -> WallTime {
        self.wall.shown()
    }

    /// What anti-entropy knows and does, to look at.
    pub const fn anti_entropy(&self) -> &AntiEntropy {
        &self.anti_entropy
    }

    /// How far this shard and its peers hold the same.
    pub fn sync_status(&self, now: Time) -> SyncStatus {
        let behind = u32::try_from(self.replica.behind().count()).unwrap_or(u32::MAX);
        SyncStatus { partitions_behind: behind, scrub: self.scrub_status(now), ..self.anti_entropy.status(now) }
    }

    /// What the shard stores, to look at.
    pub const fn replica(&self) -> &Replica {
        &self.replica
    }
}
