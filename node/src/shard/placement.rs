//! From one placement to the next, while requests go on.
//!
//! What a shard is told is who holds what ([`Placement`]); what it tells of that is how far it has come: that no request goes by an older
//! placement any more ([`Progress::Settled`]), and that all that it holds by an epoch is here ([`Progress::Synced`]). The first shard makes of this
//! the node's progress in the layout (`layout`).
//!
//! ```text
//! a partition:            placement names this node            caught up with all who hold it,
//!                                                              since all have acknowledged that
//!               (none) ────────────────────────────▶ receiving ────────────────────────────▶ held
//!                 ▲                                                                            │
//!                 └──── no live epoch names this node any more: its replica is removed ────────┘
//! ```
//!
//! Receiving is what a replica does that lost its disk, too: it takes part in writes at once, and in reads once it has all.

use std::collections::BTreeSet;
use std::sync::Arc;

use quorate_ring::layout::{EpochId, Placement};
use quorate_ring::version::Incarnation;
use quorate_ring::{NodeId, PartitionId, Position, Ring};
use rand::RngExt;

use super::sharing::{held, shared};
use super::{Coordination, Progress, Shard};
use crate::Time;
use crate::anti_entropy::AntiEntropy;
use crate::coordinator::CoordinationId;
use crate::handoff::hint::delivery::Delivery;
use crate::replica::clocks::Barrier;

/// How far a shard has come with its placement.
#[derive(Default)]
pub(super) struct Changing {
    /// Partitions to hold, of which something is still going on from before they were released.
    gaining: BTreeSet<PartitionId>,
    /// Requests before this one go by an older placement. Nothing once they are over.
    older: Option<CoordinationId>,
    /// What is synced once this barrier is reached.
    syncing: Option<(EpochId, Barrier)>,
    /// What was said last to be synced.
    synced: Option<EpochId>,
}

impl Shard {
    /// Who holds what from now on.
    pub(super) fn handle_placement(&mut self, now: Time, placement: Arc<Placement>) {
        let before = std::mem::replace(&mut self.placement, placement);
        let epochs = |placement: &Placement| (placement.last_epoch(), placement.read_epoch());
        if epochs(&before) != epochs(&self.placement) {
            self.changing.older = Some(CoordinationId(self.next_number()));
        }
        self.hints.store.set_placement(self.placement.clone());
        if before.epochs() != self.placement.epochs() {
            self.hints.deliveries.values_mut().for_each(Delivery::handle_placement);
            self.hold_and_release();
            self.share(now);
        }
        self.receive_anew(now, &before);
        if before.epochs() != self.placement.epochs() {
            self.narrow_writes(now);
        }
        self.unheard.retain(|node| self.placement.member(*node).is_some());
        self.prove();
        self.check_complete();
        // What is still by an epoch that is not known yet is parked again.
        for (from, message) in std::mem::take(&mut self.parked) {
            self.handle_peer_message(now, from, message);
        }
    }

    /// Writes under way need nobody any more who is a primary by dropped epochs only.
    fn narrow_writes(&mut self, now: Time) {
        let Self { placement, coordinations, .. } = self;
        let mut narrowed = Vec::new();
        for (id, coordination) in coordinations {
            if let Coordination::Write(write) = coordination {
                let partition = placement.partition_of(Position::of(&write.key));
                let primaries = |ring: &Arc<Ring>| ring.primaries(partition).collect();
                let live: Vec<Vec<NodeId>> = placement.live().iter().map(primaries).collect();
                narrowed.extend(write.handle_quorums(&live).then_some(*id));
            }
        }
        narrowed.into_iter().for_each(|id| self.write_step(now, id));
    }

    /// Begins to receive what this node is to hold; and begins again where not all that was received counts. That is so where it was received
    /// before all had acknowledged that this node holds it; and where somebody gives a partition up of which it may have had what those who
    /// stay had not received themselves when this shard caught up with them. Now they have: before that, nobody gives it up.
    fn receive_anew(&mut self, now: Time, before: &Placement) {
        let due: BTreeSet<PartitionId> = before.to_receive(self.own()).collect();
        let new = self.placement.to_receive(self.own()).filter(|partition| !due.contains(partition));
        let mut again: BTreeSet<PartitionId> = new.collect();
        again.iter().for_each(|partition| self.replica.fall_behind_in(*partition));
        let given_up = |partition: &PartitionId| {
            before.primaries(*partition).any(|node| !self.placement.is_primary(node, *partition))
        };
        again.extend(self.replica.behind().filter(given_up));
        let AntiEntropy { peers, .. } = &mut self.anti_entropy;
        let mut asked = Vec::new();
        for (node, peer) in peers {
            again.iter().for_each(|partition| peer.forget_caught_up(*partition));
            asked.extend(again.iter().any(|partition| peer.shares(*partition)).then_some(*node));
        }
        // What was asked before is not waited for.
        asked.into_iter().for_each(|node| self.compare_anew(now, node));
    }

    /// Begins a comparison with a peer, if it is connected, in the place of one that is under way.
    fn compare_anew(&mut self, now: Time, node: NodeId) {
        self.forget_exchanges(node);
        let life = self.scrub.closing.life_of(self.config.actor, node);
        if let Some(life) = life.filter(|_| self.connected.contains(&node)) {
            self.compare_soon(now, node, life);
        }
    }

    /// Begins with the replicas that this shard is to hold and does not, and removes those that it is not to hold any more.
    fn hold_and_release(&mut self) {
        let wanted = held(&self.placement, &self.config);
        let released: Vec<PartitionId> = self.replica.held().difference(&wanted).copied().collect();
        for partition in released {
            let next = Incarnation::new(self.random.random());
            self.replica.release(partition, next);
            self.anti_entropy.forget_partition(partition);
        }
        self.changing.gaining = wanted.difference(self.replica.held()).copied().collect();
        self.gain();
    }

    /// Begins with replicas of which nothing is going on any more. `true` if there was one.
    fn gain(&mut self) -> bool {
        let idle = |partition: &PartitionId| self.replica.is_idle_for(*partition);
        let gained: Vec<PartitionId> =
            self.changing.gaining.iter().filter(|partition| idle(partition)).copied().collect();
        for partition in &gained {
            self.changing.gaining.remove(partition);
            self.replica.hold(*partition);
        }
        !gained.is_empty()
    }

    /// Other partitions are held from now on, or by others.
    fn share(&mut self, now: Time) {
        let shared = shared(&self.placement, self.own(), self.replica.held());
        let gone: Vec<NodeId> =
            self.anti_entropy.peers.keys().filter(|node| !shared.contains_key(node)).copied().collect();
        gone.into_iter().for_each(|node| self.forget_exchanges(node));
        for node in self.anti_entropy.set_shared(shared) {
            self.compare_anew(now, node);
        }
        let partitions = self.placement.partitions();
        self.scrub.set_held(now, self.replica.held(), |key| partitions.partition_of(Position::of(key)));
    }

    /// The store has all that it ever had: reads count on it, but for what it has not received yet.
    pub(super) fn trust_store(&mut self) {
        self.replica.count_for_reads();
        for partition in self.placement.unsynced(self.own()) {
            self.replica.fall_behind_in(partition);
        }
    }

    /// Goes on with what waits for something to end.
    pub(super) fn drive_changing(&mut self, now: Time) {
        if !self.changing.gaining.is_empty() && self.gain() {
            self.share(now);
            self.check_complete();
        }
        self.check_synced();
        if let Some(older) = self.changing.older
            && self.coordinations.first_key_value().is_none_or(|(first, _)| older < *first)
        {
            self.changing.older = None;
            let (last, reads_by) = (self.placement.last_epoch(), self.placement.read_epoch());
            self.handle_progress(self.config.shard, Progress::Settled { last, reads_by });
        }
    }

    /// Says that an epoch is synced once all that is held by it is here and on the disk.
    fn check_synced(&mut self) {
        let Some(epoch) = self.placement.epoch_to_sync().filter(|epoch| self.changing.synced != Some(*epoch)) else {
            return;
        };
        let lacks = |partition: PartitionId| {
            self.changing.gaining.contains(&partition)
                || self.replica.holds(partition) && !self.replica.is_complete_for(partition)
        };
        if self.changing.syncing.is_some_and(|(syncing, _)| syncing == epoch)
            || self.placement.to_receive(self.own()).any(lacks)
            || self.leaves_with_hints()
        {
            return;
        }
        match self.replica.barrier() {
            Some(barrier) => self.changing.syncing = Some((epoch, barrier)),
            None => self.synced(epoch),
        }
    }

    /// Whether this node is to leave and still keeps something for others: once it has left, nobody waits for it to hand that over.
    fn leaves_with_hints(&self) -> bool {
        let leaves = self.placement.last().member(self.own()).is_none();
        leaves && (!self.hints_counted() || self.hints().next().is_some())
    }

    /// All before a barrier is on the disk.
    pub(super) fn note_durable(&mut self, reached: Barrier) {
        if let Some((epoch, _)) = self.changing.syncing.take_if(|(_, barrier)| *barrier <= reached) {
            self.synced(epoch);
        }
    }

    fn synced(&mut self, epoch: EpochId) {
        self.changing.synced = Some(epoch);
        self.handle_progress(self.config.shard, Progress::Synced(epoch));
    }
}
