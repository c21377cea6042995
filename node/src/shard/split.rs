//! Which shard of a node a request or message is for. Pure, used by whoever feeds the shards.

use quorate_ring::wire::{PeerMessage, Request};
use quorate_ring::{ObjectKey, PartitionCount, PartitionId, Position};

use super::Shard;

/// How a node's partitions are dealt to its shards: each has one contiguous slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slices {
    partitions: PartitionCount,
    shards: u8,
}

/// One shard's part of a request: which shard, what it is asked, and for a batch the indices of its items in the whole.
pub type Part = (u8, Request, Option<Vec<u32>>);

impl Slices {
    /// This many shards, at least one.
    pub fn new(partitions: PartitionCount, shards: u8) -> Self {
        assert!(0 < shards, "a node has at least one shard");
        Self { partitions, shards }
    }

    /// The shard that holds a partition.
    pub fn shard_of(self, partition: PartitionId) -> u8 {
        let slice = u64::from(partition.number()) * u64::from(self.shards) / u64::from(self.partitions.get());
        u8::try_from(slice).expect("a partition's number is below their count, so its slice is below the shards'")
    }

    /// The shard that holds a key.
    pub fn shard_of_key(self, key: &ObjectKey) -> u8 {
        self.shard_of(self.partitions.partition_of(Position::of(key)))
    }

    /// The shard that a peer's message is for: that of the key or partition of a question, that which asked for an answer.
    pub fn shard_of_message(self, message: &PeerMessage) -> u8 {
        match message {
            PeerMessage::Read { key, .. } | PeerMessage::Replicate { key, .. } | PeerMessage::Repair { key, .. } => {
                self.shard_of_key(key)
            }
            PeerMessage::Scan { partition, .. } => self.shard_of(self.existing(*partition)),
            // For every shard; whoever feeds them sees to that.
            PeerMessage::Known { .. } => 0,
            PeerMessage::Forward { request, .. } => self.shard_of_single(request),
            PeerMessage::ReadReply { exchange, .. }
            | PeerMessage::ReplicateReply { exchange, .. }
            | PeerMessage::ScanReply { exchange, .. }
            | PeerMessage::ForwardReply { exchange, .. } => Shard::shard_of_exchange(*exchange) % self.shards,
        }
    }

    /// Deals a client's request to the shards. Only a batch may be for several.
    pub fn split(self, request: Request) -> Vec<Part> {
        if self.shards == 1 {
            return vec![(0, request, None)];
        }
        match request {
            Request::GetMany { keys, r } => self
                .deal(keys, |key| key)
                .map(|(shard, keys, indices)| (shard, Request::GetMany { keys, r }, Some(indices)))
                .collect(),
            Request::PutMany { items, w, durability } => self
                .deal(items, |item| &item.key)
                .map(|(shard, items, indices)| (shard, Request::PutMany { items, w, durability }, Some(indices)))
                .collect(),
            other => vec![(self.shard_of_single(&other), other, None)],
        }
    }

    fn shard_of_single(self, request: &Request) -> u8 {
        match request {
            Request::Get { key, .. } | Request::Delete { key, .. } => self.shard_of_key(key),
            Request::Put { item, .. } => self.shard_of_key(&item.key),
            Request::Scan { partition, .. } => self.shard_of(self.existing(*partition)),
            Request::GetMany { .. } | Request::PutMany { .. } | Request::Ring | Request::Status => 0,
        }
    }

    /// A partition that the ring does not have is for any shard to refuse.
    fn existing(self, partition: PartitionId) -> PartitionId {
        if u32::from(partition.number()) < self.partitions.get() { partition } else { PartitionId::new(0) }
    }

    fn deal<T>(self, items: Vec<T>, key: impl Fn(&T) -> &ObjectKey) -> impl Iterator<Item = (u8, Vec<T>, Vec<u32>)> {
        let mut hands: Vec<(u8, Vec<T>, Vec<u32>)> =
            (0..self.shards).map(|shard| (shard, Vec::new(), Vec::new())).collect();
        let empty = items.is_empty();
        for (index, item) in (0_u32..).zip(items) {
            let (_, items, indices) = &mut hands[usize::from(self.shard_of_key(key(&item)))];
            items.push(item);
            indices.push(index);
        }
        // An empty batch is still a request that someone must answer.
        hands.into_iter().filter(move |(shard, items, _)| !items.is_empty() || (empty && *shard == 0))
    }
}
