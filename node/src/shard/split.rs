//! Which shard of a node a request or message is for. Pure, used by whoever feeds the shards.

use quorate_ring::wire::{HintMessage, LayoutMessage, PeerMessage, Request, ScrubMessage};
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

/// Whether a peer's message is for every shard of a node, and not for one of them.
pub const fn is_for_every_shard(message: &PeerMessage) -> bool {
    matches!(
        message,
        PeerMessage::Known { .. } | PeerMessage::Layout(LayoutMessage::Digest { .. } | LayoutMessage::Epoch { .. })
    )
}

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
            // Some of them for every shard; whoever feeds them sees to that ([`is_for_every_shard`]).
            PeerMessage::Known { .. } | PeerMessage::Layout(_) => 0,
            PeerMessage::Forward { request, .. } => self.shard_of_single(request),
            PeerMessage::Hint(HintMessage::Hand { partition, .. }) => self.shard_of(self.existing(*partition)),
            PeerMessage::Sync(message) => match message.asks_about() {
                Some(partition) => self.shard_of(self.existing(partition)),
                None => Shard::shard_of_exchange(message.exchange()) % self.shards,
            },
            PeerMessage::Scrub(ScrubMessage::Compare { range, .. } | ScrubMessage::Fetch { range, .. }) => {
                self.shard_of(self.existing(range.partition))
            }
            PeerMessage::Scrub(
                ScrubMessage::Name { partition, .. }
                | ScrubMessage::Rest { partition, .. }
                | ScrubMessage::Agree { partition, .. },
            ) => self.shard_of(self.existing(*partition)),
            PeerMessage::Scrub(ScrubMessage::Ask { key, .. } | ScrubMessage::Share { key, .. }) => {
                self.shard_of_key(key)
            }
            PeerMessage::Scrub(answer) => Shard::shard_of_exchange(answer.exchange()) % self.shards,
            PeerMessage::ReadReply { exchange, .. }
            | PeerMessage::ReplicateReply { exchange, .. }
            | PeerMessage::ScanReply { exchange, .. }
            | PeerMessage::ForwardReply { exchange, .. }
            | PeerMessage::Hint(HintMessage::Taken { exchange, .. }) => {
                Shard::shard_of_exchange(*exchange) % self.shards
            }
        }
    }

    /// Deals a client's request to the shards. Only a batch may be for several.
    pub fn split(self, request: Request) -> Vec<Part> {
        if self.shards == 1 {
            return vec![(0, request, None)];
        }
        match request {
            Request::GetMany { keys, r, strict } => self
                .deal(keys, |key| key)
                .map(|(shard, keys, indices)| (shard, Request::GetMany { keys, r, strict }, Some(indices)))
                .collect(),
            Request::PutMany { items, w, durability, strict } => self
                .deal(items, |item| &item.key)
                .map(|(shard, items, indices)| {
                    (shard, Request::PutMany { items, w, durability, strict }, Some(indices))
                })
                .collect(),
            other => vec![(self.shard_of_single(&other), other, None)],
        }
    }

    fn shard_of_single(self, request: &Request) -> u8 {
        match request {
            Request::Get { key, .. } | Request::GetRepaired { key } | Request::Delete { key, .. } => {
                self.shard_of_key(key)
            }
            Request::Put { item, .. } => self.shard_of_key(&item.key),
            Request::Scan { partition, .. } => self.shard_of(self.existing(*partition)),
            Request::GetMany { .. }
            | Request::PutMany { .. }
            | Request::Ring
            | Request::Status
            | Request::Layout
            | Request::ChangeLayout(_) => 0,
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

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_ring::version::{Actor, Container, ContextToken, Dot, Incarnation};
    use quorate_ring::wire::{Durability, ExchangeId, PutItem, ReplicaError};
    use quorate_ring::{BucketName, Key, NodeId, Value};

    /// Eight partitions in three slices: 0 to 2, 3 to 5, and 6 and 7.
    fn slices() -> Slices {
        Slices::new(PartitionCount::new(8).expect("a power of two"), 3)
    }

    fn bucket() -> BucketName {
        BucketName::new("b").expect("valid")
    }

    /// Keys enough that each of the three shards holds some.
    fn keys() -> Vec<ObjectKey> {
        (0..40).map(|index| ObjectKey::new(&bucket(), &Key::new(format!("k{index}")).expect("valid"))).collect()
    }

    /// A key that a shard holds.
    fn key_of(shard: u8) -> ObjectKey {
        keys().into_iter().find(|key| slices().shard_of_key(key) == shard).expect("forty keys are over all slices")
    }

    fn item(key: ObjectKey) -> PutItem {
        PutItem { key, value: Value::new("v").expect("small"), context: None, ttl_millis: None }
    }

    fn token() -> ContextToken {
        ContextToken::from_bytes(Vec::new().into()).expect("short")
    }

    fn scan(partition: u16) -> Request {
        Request::Scan { bucket: bucket(), partition: PartitionId::new(partition), after: None, limit: 1, r: None }
    }

    #[test]
    fn each_shard_has_one_contiguous_slice() {
        let of: Vec<u8> = (0..8).map(|number| slices().shard_of(PartitionId::new(number))).collect();
        assert_eq!(of, [0, 0, 0, 1, 1, 1, 2, 2]);
        for key in keys() {
            let partition = slices().partitions.partition_of(Position::of(&key));
            assert_eq!(slices().shard_of_key(&key), slices().shard_of(partition));
        }
    }

    #[test]
    fn a_request_for_one_key_or_partition_goes_whole_to_its_shard() {
        for shard in 0..3 {
            let key = key_of(shard);
            let requests = [
                Request::Get { key: key.clone(), r: None, strict: false },
                Request::Put { item: item(key.clone()), w: None, durability: None, strict: false },
                Request::Delete { key, context: token(), w: None, durability: None, strict: false },
                scan(u16::from(shard) * 3),
            ];
            for request in requests {
                assert_eq!(slices().split(request.clone()), [(shard, request, None)]);
            }
        }
    }

    #[test]
    fn a_partition_that_is_not_there_is_for_the_first_shard_to_refuse() {
        assert_eq!(slices().split(scan(7)), [(2, scan(7), None)]);
        for missing in [8, 9, u16::MAX] {
            assert_eq!(slices().split(scan(missing)), [(0, scan(missing), None)]);
        }
    }

    #[test]
    fn a_batch_is_dealt_with_the_indices_of_its_items() {
        let mut seen = vec![];
        for (shard, request, indices) in slices().split(Request::GetMany { keys: keys(), r: Some(2), strict: false }) {
            let (Request::GetMany { keys: part, r: Some(2), strict: false }, Some(indices)) = (request, indices) else {
                panic!("no part")
            };
            assert!(part.iter().all(|key| slices().shard_of_key(key) == shard));
            assert!(part.into_iter().eq(indices.iter().map(|&index| keys().swap_remove(index as usize))));
            seen.extend(indices);
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..40));
    }

    #[test]
    fn shards_without_an_item_of_a_batch_are_not_asked() {
        let batch = |keys: Vec<ObjectKey>| Request::PutMany {
            items: keys.into_iter().map(item).collect(),
            w: Some(1),
            durability: Some(Durability::Synced),
            strict: false,
        };
        let parts = slices().split(batch(vec![key_of(2), key_of(1), key_of(2)]));
        let expected =
            [(1, batch(vec![key_of(1)]), Some(vec![1])), (2, batch(vec![key_of(2), key_of(2)]), Some(vec![0, 2]))];
        assert_eq!(parts, expected);
        assert_eq!(slices().split(batch(vec![])), [(0, batch(vec![]), Some(vec![]))], "someone must answer it");
    }

    #[test]
    fn a_node_of_one_shard_splits_nothing() {
        let one = Slices::new(PartitionCount::new(8).expect("a power of two"), 1);
        let batch = Request::GetMany { keys: keys(), r: None, strict: false };
        assert_eq!(one.split(batch.clone()), [(0, batch, None)]);
    }

    #[test]
    fn questions_of_peers_go_to_the_shard_of_their_key_or_partition() {
        let (exchange, timeout_millis) = (ExchangeId(u64::MAX), 1);
        let dot = Dot::new(Actor::new(NodeId::new(1).expect("not 0"), Incarnation::new(1)), 1);
        for shard in 0..3 {
            let (key, container) = (key_of(shard), Container::empty());
            let partition = PartitionId::new(u16::from(shard) * 3);
            let questions = [
                PeerMessage::Read { exchange, timeout_millis, key: key.clone(), stand_in: false },
                PeerMessage::Repair { key: key.clone(), container: container.clone(), exchange: None },
                PeerMessage::Replicate {
                    exchange,
                    timeout_millis,
                    key: key.clone(),
                    dot,
                    container,
                    durability: Durability::Buffered,
                    hint_for: None,
                },
                PeerMessage::Hint(HintMessage::Hand { exchange, partition, hints: vec![] }),
                PeerMessage::Scan { exchange, timeout_millis, bucket: bucket(), partition, after: None, limit: 1 },
                PeerMessage::Forward {
                    exchange,
                    timeout_millis,
                    request: Request::Get { key, r: None, strict: false },
                },
            ];
            assert!(questions.iter().all(|question| slices().shard_of_message(question) == shard));
        }
        assert_eq!(slices().shard_of_message(&PeerMessage::Known { incarnations: vec![] }), 0);
    }

    #[test]
    fn answers_go_to_the_shard_that_asked_if_this_node_has_it() {
        let overloaded = ReplicaError::Overloaded;
        for (asked_by, shard) in [(0, 0), (2, 2), (3, 0), (255, 0)] {
            let exchange = ExchangeId(asked_by << 56 | 0x00ff_ffff_ffff_fffe);
            let lost = quorate_ring::wire::RequestError::Invalid { reason: String::new() };
            let answers = [
                PeerMessage::ReadReply { exchange, result: Err(overloaded) },
                PeerMessage::ReplicateReply { exchange, result: Ok(()) },
                PeerMessage::ScanReply { exchange, result: Err(overloaded) },
                PeerMessage::ForwardReply { exchange, result: Err(lost) },
                PeerMessage::Hint(HintMessage::Taken { exchange, result: Err(overloaded) }),
            ];
            assert!(answers.iter().all(|answer| slices().shard_of_message(answer) == shard), "{asked_by}");
        }
    }
}
