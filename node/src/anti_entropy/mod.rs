//! Becoming the same as the other replicas again, by comparing clocks ("DottedDB: Anti-Entropy without Merkle Trees, Deletes without
//! Tombstones", SRDS 2017).
//!
//! Every replica asks each of its peers, every few seconds, whether their clocks of the partitions they share are the same. Where they are
//! not, it sends its clock and is sent the keys that were touched by the events it lacks. So being in sync costs a hash, and
//! catching up costs what was missed, however much is stored. What the parts do:
//!
//! | part | does |
//! |---|---|
//! | [`Peer`] | what is known of one peer: when to compare next, the exchange under way, what it has durably |
//! | [`Exchange`] | one comparison, as the asking side goes through it |
//! | [`answer::Answer`] | what is being put together for a peer that asks |
//!
//! The glue that sends, reads and merges is in `shard::anti_entropy`. An event enters the clock only with a container of its key that
//! covers it; a peer's clock is joined only after a transfer of all that it vouches for.

pub mod answer;
mod exchange;
mod peer;
mod watermark;

use std::collections::{BTreeMap, BTreeSet};

use quorate_ring::version::NodeClock;
use quorate_ring::{NodeId, PartitionId};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use self::answer::Answer;
pub use self::exchange::{Asked, Exchange, PageAtHand, Received, Rest, State, Transfer};
pub use self::peer::Peer;
pub use self::watermark::Watermarks;
use crate::Time;
use crate::replica::clocks::Barrier;
use crate::replica::layout;
use crate::storage::{OperationId, Owner};
use quorate_ring::wire::{ExchangeId, SyncStatus};

/// The anti-entropy of one shard.
#[derive(Default)]
pub struct AntiEntropy {
    /// The nodes that share partitions with this shard.
    pub peers: BTreeMap<NodeId, Peer>,
    /// What is being put together for each of them: one thing at a time.
    pub answers: BTreeMap<NodeId, Answer>,
    /// Of partitions that were being received as a whole when that broke off: what is stored. Any peer can go on with it.
    pub broken: BTreeMap<PartitionId, Transfer>,
    /// Whose question for a comparison waits until everything is durable.
    pub comparisons: Vec<Comparison>,
    /// Lookups in the log under way, and for whom.
    pub lookups: BTreeMap<OperationId, (NodeId, ExchangeId)>,
    /// How far logs were pruned.
    pub watermarks: Watermarks,
    /// Whether a time is set to look after the log of a shard without peers.
    pub prunes_alone: bool,
    operation_next: u64,
    /// What was done since the start.
    pub counters: Counters,
}

/// A peer's question for a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Who asks.
    pub peer: NodeId,
    /// The number of its question.
    pub exchange: ExchangeId,
    /// The first partition it asks about.
    pub from: PartitionId,
    /// The last.
    pub through: PartitionId,
    /// Over its clocks.
    pub hash: u64,
    /// Answered when this is reached.
    pub barrier: Barrier,
}

/// What anti-entropy has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Exchanges with a peer that came to their end.
    pub exchanges: u64,
    /// Those that found nothing to do.
    pub in_sync: u64,
    /// Keys received because an event of theirs was missed.
    pub keys_received: u64,
    /// Bytes of their values.
    pub bytes_received: u64,
    /// Transfers of whole partitions that came to their end.
    pub transfers: u64,
}

impl AntiEntropy {
    /// With these peers, each sharing these partitions of the shard.
    pub fn new(shared: BTreeMap<NodeId, Vec<PartitionId>>) -> Self {
        let peers = shared.into_iter().map(|(node, partitions)| (node, Peer::new(partitions))).collect();
        Self { peers, ..Self::default() }
    }

    /// Who shares which partitions from now on. A peer of whom that changes is as one that nothing was said to: gives those.
    pub fn set_shared(&mut self, mut shared: BTreeMap<NodeId, Vec<PartitionId>>) -> Vec<NodeId> {
        self.peers.retain(|node, _| shared.contains_key(node));
        let changes = |(node, peer): (&NodeId, &Peer)| shared.get(node).is_none_or(|shared| !peer.shares_just(shared));
        let mut changed: Vec<NodeId> = self.peers.iter().filter(|peer| changes(*peer)).map(|(node, _)| *node).collect();
        changed.extend(shared.keys().filter(|node| !self.peers.contains_key(node)));
        for node in &changed {
            let shared = shared.remove(node).unwrap_or_default();
            self.peers.entry(*node).or_insert_with(|| Peer::new(Vec::new())).set_shared(shared);
        }
        changed
    }

    /// A partition is not held here any more.
    pub fn forget_partition(&mut self, partition: PartitionId) {
        self.answers.clear();
        self.broken.remove(&partition);
        self.watermarks.forget(partition);
    }

    /// A number for an operation of the store.
    pub fn next_operation(&mut self) -> OperationId {
        self.operation_next += 1;
        OperationId::new(Owner::AntiEntropy, self.operation_next)
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.answers.is_empty()
            && self.comparisons.is_empty()
            && self.peers.values().all(|peer| peer.exchange.is_none())
    }

    /// Whether whole partitions are being received, or are about to be.
    pub fn is_transferring(&self) -> bool {
        let transfers =
            |exchange: &Exchange| matches!(exchange.state, State::Transferring(_)) || !exchange.transfers.is_empty();
        self.peers.values().filter_map(|peer| peer.exchange.as_ref()).any(transfers)
    }

    /// How far this shard and its peers hold the same; what a replica side has to say of it is left out.
    pub fn status(&self, now: Time) -> SyncStatus {
        let ages = self.peers.values().map(|peer| peer.same_at.map(|at| now.since(at).as_millis()));
        let oldest = ages.reduce(|one, other| one.zip(other).map(|(one, other)| one.max(other)));
        let differing: usize = self.peers.values().map(|peer| peer.differing().0).sum();
        SyncStatus {
            age_millis: oldest.unwrap_or(Some(0)).map(|millis| u64::try_from(millis).unwrap_or(u64::MAX)),
            partitions_behind: 0,
            partitions_differing: u32::try_from(differing).unwrap_or(u32::MAX),
            exchanges: self.counters.exchanges,
            keys_received: self.counters.keys_received,
            bytes_received: self.counters.bytes_received,
            transfers: self.counters.transfers,
            ..SyncStatus::default()
        }
    }

    /// The partitions that are being brought by others than this peer.
    pub fn brought_beside(&self, node: NodeId) -> BTreeSet<PartitionId> {
        let others = self.peers.iter().filter(|(other, _)| **other != node);
        others.filter_map(|(_, peer)| peer.exchange.as_ref()).flat_map(Exchange::brings).collect()
    }

    /// A peer has brought all that it had of these partitions: the others need not be asked for them before they are compared again.
    pub fn note_brought(&mut self, by: NodeId, partitions: &[PartitionId]) {
        let others = self.peers.iter_mut().filter(|(other, _)| **other != by);
        for exchange in others.filter_map(|(_, peer)| peer.exchange.as_mut()) {
            partitions.iter().for_each(|partition| exchange.note_brought(*partition));
        }
    }

    /// The peers that wait for others to bring what they lack.
    pub fn waiting(&self) -> Vec<NodeId> {
        let waits = |peer: &Peer| matches!(peer.exchange, Some(Exchange { state: State::Waiting, .. }));
        self.peers.iter().filter(|(_, peer)| waits(peer)).map(|(node, _)| *node).collect()
    }

    /// The peers that hold a replica of a partition.
    pub fn sharers(&self, partition: PartitionId) -> impl Iterator<Item = (&NodeId, &Peer)> {
        self.peers.iter().filter(move |(_, peer)| peer.shares(partition))
    }
}

/// The hash of a clock: equal clocks have equal bytes.
pub fn hash_of(clock: &NodeClock) -> u64 {
    if clock.is_empty() { 0 } else { xxh3_64(&layout::encode(clock)) }
}

/// The hash of many clocks' hashes.
pub fn hash_of_all(hashes: impl Iterator<Item = (PartitionId, u64)>) -> u64 {
    let mut all = Xxh3::new();
    for (partition, hash) in hashes {
        all.update(&partition.number().to_le_bytes());
        all.update(&hash.to_le_bytes());
    }
    all.digest()
}
