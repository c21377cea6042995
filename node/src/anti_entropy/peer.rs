//! What anti-entropy knows of one peer.

use std::collections::{BTreeMap, BTreeSet};

use quorate_ring::PartitionId;
use quorate_ring::version::{Incarnation, NodeClock, VersionVector};

use super::Exchange;
use crate::Time;

/// A node that shares partitions with this shard.
pub struct Peer {
    /// Which, ascending.
    shared: Vec<PartitionId>,
    /// The incarnation it is connected as.
    pub connected: Option<Incarnation>,
    /// When to compare next, while it is connected.
    pub due: Time,
    /// The comparison under way.
    pub exchange: Option<Exchange>,
    /// Of each partition, up to where it durably has all events: told in this incarnation of it.
    told: BTreeMap<PartitionId, VersionVector>,
    news: BTreeSet<PartitionId>,
    /// The partitions of which this replica has had all that the peer had, at some time since this start.
    caught_up: BTreeSet<PartitionId>,
    /// The partitions of which it had events that it could not name, when it was last asked.
    unlogged: BTreeSet<PartitionId>,
    /// When the last comparison began that found all clocks the same.
    pub same_at: Option<Time>,
    /// The partitions in which it was last seen to differ, and since when.
    differing: BTreeMap<PartitionId, Time>,
}

impl Peer {
    /// A peer that nothing is known of yet.
    pub fn new(mut shared: Vec<PartitionId>) -> Self {
        shared.sort_unstable();
        Self {
            shared,
            connected: None,
            due: Time::default(),
            exchange: None,
            told: BTreeMap::new(),
            news: BTreeSet::new(),
            caught_up: BTreeSet::new(),
            unlogged: BTreeSet::new(),
            same_at: None,
            differing: BTreeMap::new(),
        }
    }

    /// Whether it shares these partitions, ascending, and no others.
    pub fn shares_just(&self, shared: &[PartitionId]) -> bool {
        self.shared == shared
    }

    /// It shares these from now on. What was known of others is forgotten; an exchange that is under way is the caller's to end.
    pub fn set_shared(&mut self, mut shared: Vec<PartitionId>) {
        shared.sort_unstable();
        let still = |partition: &PartitionId| shared.binary_search(partition).is_ok();
        self.told.retain(|partition, _| still(partition));
        self.differing.retain(|partition, _| still(partition));
        for known in [&mut self.news, &mut self.caught_up, &mut self.unlogged] {
            known.retain(still);
        }
        self.shared = shared;
    }

    /// Whether it holds a replica of the partition.
    pub fn shares(&self, partition: PartitionId) -> bool {
        self.shared.binary_search(&partition).is_ok()
    }

    /// The shared partitions from one through another.
    pub fn shared(&self, from: PartitionId, through: PartitionId) -> &[PartitionId] {
        let start = self.shared.partition_point(|partition| *partition < from);
        let end = self.shared.partition_point(|partition| *partition <= through);
        self.shared.get(start..end).unwrap_or_default()
    }

    /// At most so many of the shared partitions behind one, or from the first.
    pub fn shared_behind(&self, behind: Option<PartitionId>, limit: usize) -> &[PartitionId] {
        let start = behind.map_or(0, |behind| self.shared.partition_point(|partition| *partition <= behind));
        &self.shared[start..self.shared.len().min(start + limit)]
    }

    /// There is a connection to it. What an earlier incarnation of it had, this one may have lost.
    pub fn handle_connected(&mut self, incarnation: Incarnation, due: Time) {
        self.told.clear();
        self.unlogged.clear();
        self.exchange = None;
        self.connected = Some(incarnation);
        self.due = due;
    }

    /// The connection is gone, and every exchange with it.
    pub fn handle_disconnected(&mut self) {
        self.connected = None;
        self.exchange = None;
    }

    /// It durably has all that this clock's base says.
    pub fn note_told(&mut self, partition: PartitionId, base: &VersionVector) {
        if self.told.get(&partition) != Some(base) {
            self.told.insert(partition, base.clone());
            self.news.insert(partition);
        }
    }

    /// The partitions of which it has told something new since this was last asked.
    pub fn take_news(&mut self) -> BTreeSet<PartitionId> {
        std::mem::take(&mut self.news)
    }

    /// Up to where it durably has all events of a partition, if it has told.
    pub fn told(&self, partition: PartitionId) -> Option<&VersionVector> {
        self.told.get(&partition)
    }

    /// This replica has all of a partition that the peer had.
    pub fn note_caught_up(&mut self, partition: PartitionId) {
        self.unlogged.remove(&partition);
        self.caught_up.insert(partition);
    }

    /// What was received of it before counts no more: it may have had other events since that this replica was not sent.
    pub fn forget_caught_up(&mut self, partition: PartitionId) {
        self.caught_up.remove(&partition);
    }

    /// Whether that was ever so since this start.
    pub fn has_caught_up(&self, partition: PartitionId) -> bool {
        self.caught_up.contains(&partition)
    }

    /// It has events of a partition that it cannot name. `true` if that was so the last time, too: nobody else could in the meantime.
    /// One that begins with the partition does not wait for that, see [`Self::begins`].
    pub fn note_unlogged(&mut self, partition: PartitionId) -> bool {
        !self.unlogged.insert(partition)
    }

    /// Its clock of a partition is the same as this replica's, or is not.
    pub fn note_difference(&mut self, now: Time, partition: PartitionId, same: bool) {
        if same {
            self.differing.remove(&partition);
        } else {
            self.differing.entry(partition).or_insert(now);
        }
    }

    /// In how many partitions it was last seen to differ, and since when the longest.
    pub fn differing(&self) -> (usize, Option<Time>) {
        (self.differing.len(), self.differing.values().min().copied())
    }

    /// Whether this replica, having this clock, has the first events of nobody: it begins, or has lost its disk, and what it lacks was most
    /// likely pruned from the logs of all others long ago.
    pub fn begins(clock: &NodeClock) -> bool {
        clock.base().is_empty()
    }

    /// Whether this replica, having this clock, has all that the peer said to have durably.
    pub fn is_covered(clock: &NodeClock, told: &NodeClock) -> bool {
        clock.dominates(told)
    }
}
