//! Anti-entropy: what the replicas of a partition say to each other to become the same again ("DottedDB: Anti-Entropy without
//! Merkle Trees, Deletes without Tombstones", SRDS 2017).
//!
//! ```text
//! Compare ─▶ Compared ─(equal: done)─▶ Fetch ─▶ Fetched ─(more)─▶ Fetch ...
//!                                         └──(nobody can say what is missing)──▶ Transfer ─▶ Transferred ─▶ Transfer ...
//! ```
//!
//! Whoever asks is the one that may be behind, and takes as much at a time as it can use. Each question stands alone: the answering
//! side keeps nothing between two of them.

use serde::{Deserialize, Serialize};

use super::bounded::at_most;
use super::{ExchangeId, ReplicaError, StoredObject};
use crate::limits::{COMPARE_PARTITIONS_MAX, FETCH_DOTS_MAX, FETCH_PARTITIONS_MAX, SCAN_ITEMS_MAX};
use crate::version::{Container, Dot, NodeClock, VersionVector};
use crate::{ObjectKey, PartitionId, StoredValue};

/// Between two replicas of the same partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyncMessage {
    /// Is this the hash of your clocks of the partitions in this range that we share?
    #[serde(rename = "c")]
    Compare {
        /// Comes back with the reply.
        exchange: ExchangeId,
        /// The first partition of the range.
        from: PartitionId,
        /// Its last.
        through: PartitionId,
        /// Over the asker's clocks of all shared partitions in it.
        hash: u64,
        /// The number of the newest epoch that, as the asker knows, all have acknowledged; 0 where members never change. Who does not know that
        /// yet does not answer: it might still take writes that go by an older epoch, and not to the asker.
        #[serde(default, skip_serializing_if = "is_zero")]
        epoch: u64,
    },
    /// To `Compare`, once everything is durable that was there when it was asked.
    #[serde(rename = "C")]
    Compared {
        /// Of the question.
        exchange: ExchangeId,
        /// The last partition that this speaks for. The asker goes on behind it.
        through: PartitionId,
        /// A hash for each shared partition from the question's first to `through`; `None` if all clocks are the same.
        #[serde(deserialize_with = "hashes")]
        hashes: Option<Vec<u64>>,
    },
    /// These are my clocks of these partitions: send what I lack.
    #[serde(rename = "f")]
    Fetch {
        /// Comes back with the reply.
        exchange: ExchangeId,
        /// The asker's clocks.
        #[serde(deserialize_with = "at_most::<FETCH_PARTITIONS_MAX, _, _>")]
        partitions: Vec<(PartitionId, NodeClock)>,
    },
    /// To `Fetch`: a piece for each partition, or for the first of them as far as one message reaches.
    #[serde(rename = "F")]
    Fetched {
        /// Of the question.
        exchange: ExchangeId,
        /// In the order of the question.
        #[serde(deserialize_with = "at_most::<FETCH_PARTITIONS_MAX, _, _>")]
        pieces: Vec<Piece>,
    },
    /// I lack events that nobody can name to me any more: send me a page of all you hold of this partition.
    #[serde(rename = "t")]
    Transfer {
        /// Comes back with the reply.
        exchange: ExchangeId,
        /// Which partition.
        partition: PartitionId,
        /// Start behind this key.
        after: Option<ObjectKey>,
    },
    /// To `Transfer`.
    #[serde(rename = "T")]
    Transferred {
        /// Of the question.
        exchange: ExchangeId,
        /// The page, or why there is none.
        page: Result<TransferPage, ReplicaError>,
    },
}

/// What a replica lacks of a partition, or some of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Of which partition.
    pub partition: PartitionId,
    /// What the sender has durably received. The asker never joins it: it grows by what the pieces bring.
    pub clock: NodeClock,
    /// The keys that were touched.
    #[serde(deserialize_with = "at_most::<FETCH_DOTS_MAX, _, _>")]
    pub objects: Vec<PieceObject>,
    /// Events that are known to have happened to no key that is left: all replicas have agreed that nobody has them.
    #[serde(deserialize_with = "at_most::<FETCH_DOTS_MAX, _, _>")]
    pub closed: Vec<Dot>,
    /// Whether the sender has events that the asker lacks, and does not know any more which keys they touched.
    pub unlogged: bool,
    /// Whether there is more than fits: ask again.
    pub more: bool,
}

/// A key that was touched by events that a replica lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceObject {
    /// Its key.
    pub key: ObjectKey,
    /// Its container, to be filled with the base of the piece's clock.
    pub container: Container<StoredValue>,
    /// The events, covered by the container's vector once that is filled.
    #[serde(deserialize_with = "at_most::<FETCH_DOTS_MAX, _, _>")]
    pub dots: Vec<Dot>,
}

/// A page of everything that a replica holds of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferPage {
    /// Objects in ring order, as stored: to be filled with `clock`'s base. A key that is not among them and lies before the page's end is
    /// empty, filled with that base.
    #[serde(deserialize_with = "at_most::<SCAN_ITEMS_MAX, _, _>")]
    pub objects: Vec<StoredObject>,
    /// The sender's clock at the instant of the page. The first page's vouches for the whole, once all of it was received.
    pub clock: NodeClock,
    /// Whether the page reaches the partition's end. If not, it speaks for the range up to its last object.
    pub last: bool,
}

impl TransferPage {
    /// The base to fill the page's objects with.
    pub fn base(&self) -> &VersionVector {
        self.clock.base()
    }
}

impl SyncMessage {
    /// The number of the question that this asks or answers.
    pub const fn exchange(&self) -> ExchangeId {
        match self {
            Self::Compare { exchange, .. }
            | Self::Compared { exchange, .. }
            | Self::Fetch { exchange, .. }
            | Self::Fetched { exchange, .. }
            | Self::Transfer { exchange, .. }
            | Self::Transferred { exchange, .. } => *exchange,
        }
    }

    /// The first partition that a question is about; `None` of an answer.
    pub fn asks_about(&self) -> Option<PartitionId> {
        match self {
            Self::Compare { from, .. } => Some(*from),
            Self::Fetch { partitions, .. } => Some(partitions.first().map_or(PartitionId::new(0), |first| first.0)),
            Self::Transfer { partition, .. } => Some(*partition),
            Self::Compared { .. } | Self::Fetched { .. } | Self::Transferred { .. } => None,
        }
    }
}

fn hashes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u64>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Hashes(#[serde(deserialize_with = "at_most::<COMPARE_PARTITIONS_MAX, _, _>")] Vec<u64>);
    Ok(Option::<Hashes>::deserialize(deserializer)?.map(|hashes| hashes.0))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}
