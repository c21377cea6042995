//! The scrub: what the replicas of a partition say to each other to find and mend what a disk lost, rotted or misplaced. Clocks cannot
//! see that: they say what was received, not what is still there.
//!
//! ```text
//! Compare ─▶ Compared ─(the clocks are the same, and the contents are not)─▶ Fetch ─▶ Fetched
//! Ask ─▶ Held        (a key cannot be read here)
//! Name ─▶ Named      (a page cannot be read here, and so not which keys are in it)
//! Rest ─▶ Rests, Share ─▶ Shared, Agree ─▶ Agreed      (events that nobody has any more: their gaps are closed)
//! ```
//!
//! Whoever asks mends its own disk. Each question stands alone: the answering side keeps nothing between two of them.

use serde::{Deserialize, Serialize};

use super::bounded::at_most;
use super::{ExchangeId, ReplicaError, StoredObject};
use crate::limits::{CLOSING_ACTORS_MAX, SCRUB_KEYS_MAX};
use crate::version::{Actor, Container, NodeClock};
use crate::{ObjectKey, PartitionId, StoredValue};

/// Between two replicas of the same partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScrubMessage {
    /// Do you hold the same of this range as I do?
    #[serde(rename = "c")]
    Compare {
        /// Comes back with the reply.
        exchange: ExchangeId,
        /// Which range.
        range: ScrubRange,
        /// The hash of the asker's clock of the partition: without the same one there is nothing to compare.
        clock: u64,
        /// Over what the asker holds.
        hash: u64,
    },
    /// To `Compare`.
    #[serde(rename = "C")]
    Compared {
        /// Of the question.
        exchange: ExchangeId,
        /// How they compare.
        outcome: Likeness,
    },
    /// We differ: send me what you hold of this range and I do not, or not so.
    #[serde(rename = "f")]
    Fetch {
        /// Comes back with the reply.
        exchange: ExchangeId,
        /// Which range.
        range: ScrubRange,
        /// The hash of the asker's clock of the partition.
        clock: u64,
        /// A hash of each key's values that the asker holds, and of what it knows of it beyond the clock.
        #[serde(deserialize_with = "at_most::<SCRUB_KEYS_MAX, _, _>")]
        known: Vec<u64>,
    },
    /// To `Fetch`.
    #[serde(rename = "F")]
    Fetched {
        /// Of the question.
        exchange: ExchangeId,
        /// The objects, stripped; filled, those that know more than the clock says. Nothing if the clocks are not the same any more.
        objects: Result<ScrubObjects, ReplicaError>,
    },
    /// My copy of this key cannot be read: what do you hold of it? Asked of replicas, and of others for what they keep as hints.
    #[serde(rename = "a")]
    Ask {
        /// Comes back with the reply.
        exchange: ExchangeId,
        /// Which key.
        key: ObjectKey,
    },
    /// To `Ask`.
    #[serde(rename = "A")]
    Held {
        /// Of the question.
        exchange: ExchangeId,
        /// What there is.
        result: Result<HeldObject, ReplicaError>,
    },
    /// A page of mine cannot be read: which keys are there behind this one?
    #[serde(rename = "n")]
    Name {
        /// Comes back with the reply.
        exchange: ExchangeId,
        /// Of which partition.
        partition: PartitionId,
        /// Start behind this key.
        after: Option<ObjectKey>,
    },
    /// To `Name`.
    #[serde(rename = "N")]
    Named {
        /// Of the question.
        exchange: ExchangeId,
        /// The keys.
        result: Result<NamedKeys, ReplicaError>,
    },
    /// Have you been connected with the same lives of all nodes for long, do you keep no hint of this partition, and do these actors make
    /// no more events? Asked of all members.
    #[serde(rename = "r")]
    Rest {
        /// Comes back with the reply.
        exchange: ExchangeId,
        /// Of which partition.
        partition: PartitionId,
        /// Over all nodes and their incarnations, as the asker is connected with them.
        view: u64,
        /// The actors that have gaps.
        #[serde(deserialize_with = "at_most::<CLOSING_ACTORS_MAX, _, _>")]
        actors: Vec<Actor>,
    },
    /// To `Rest`.
    #[serde(rename = "R")]
    Rests {
        /// Of the question.
        exchange: ExchangeId,
        /// Whether all of that is so.
        rests: bool,
    },
    /// My container of this key knows of events beyond gaps: have it too, on your disk.
    #[serde(rename = "s")]
    Share {
        /// Comes back with the reply.
        exchange: ExchangeId,
        /// Which key.
        key: ObjectKey,
        /// Filled.
        container: Container<StoredValue>,
    },
    /// To `Share`.
    #[serde(rename = "S")]
    Shared {
        /// Of the question.
        exchange: ExchangeId,
        /// That it is on the disk, or why it is not.
        result: Result<(), ReplicaError>,
    },
    /// I lack these events and have shared all that I know of them: is that so of you, too?
    #[serde(rename = "g")]
    Agree {
        /// Comes back with the reply.
        exchange: ExchangeId,
        /// Of which partition.
        partition: PartitionId,
        /// As in `Rest`.
        view: u64,
        /// The hash of what the asker's clock says of the actors that have gaps and are over.
        gaps: u64,
    },
    /// To `Agree`.
    #[serde(rename = "G")]
    Agreed {
        /// Of the question.
        exchange: ExchangeId,
        /// Whether it is.
        agrees: bool,
    },
}

/// A range of a partition's keys in ring order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubRange {
    /// Which partition.
    pub partition: PartitionId,
    /// Behind this key; from the partition's first if there is none.
    pub after: Option<ObjectKey>,
    /// Up to this key and with it; to the partition's end if there is none.
    pub through: Option<ObjectKey>,
}

/// How two replicas' contents of a range compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Likeness {
    /// They are the same.
    #[serde(rename = "s")]
    Same,
    /// They differ, though the clocks are the same: a fault of a disk, or of this program.
    #[serde(rename = "d")]
    Different,
    /// The clocks are not the same, or one of the two has not caught up, or it cannot be said now.
    #[serde(rename = "u")]
    Unlike,
}

/// Objects of a range that another does not hold, or not so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubObjects(#[serde(deserialize_with = "at_most::<SCRUB_KEYS_MAX, _, _>")] pub Vec<StoredObject>);

/// What a node holds of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldObject {
    /// Filled.
    pub container: Container<StoredValue>,
    /// The clock of the key's partition at the same instant: every event in it that touched the key is accounted for by the container.
    /// Empty from a node that is no replica, and holds hints.
    pub clock: NodeClock,
}

/// Keys in ring order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedKeys {
    /// The keys.
    #[serde(deserialize_with = "at_most::<SCRUB_KEYS_MAX, _, _>")]
    pub keys: Vec<ObjectKey>,
    /// Whether the partition has no more.
    pub last: bool,
}

impl ScrubMessage {
    /// The number of the question that this asks or answers.
    pub const fn exchange(&self) -> ExchangeId {
        match self {
            Self::Compare { exchange, .. }
            | Self::Compared { exchange, .. }
            | Self::Fetch { exchange, .. }
            | Self::Fetched { exchange, .. }
            | Self::Ask { exchange, .. }
            | Self::Held { exchange, .. }
            | Self::Name { exchange, .. }
            | Self::Named { exchange, .. }
            | Self::Rest { exchange, .. }
            | Self::Rests { exchange, .. }
            | Self::Share { exchange, .. }
            | Self::Shared { exchange, .. }
            | Self::Agree { exchange, .. }
            | Self::Agreed { exchange, .. } => *exchange,
        }
    }

    /// Whether it is a question.
    pub const fn is_question(&self) -> bool {
        match self {
            Self::Compare { .. } | Self::Fetch { .. } | Self::Ask { .. } | Self::Name { .. } => true,
            Self::Rest { .. } | Self::Share { .. } | Self::Agree { .. } => true,
            Self::Compared { .. } | Self::Fetched { .. } | Self::Held { .. } | Self::Named { .. } => false,
            Self::Rests { .. } | Self::Shared { .. } | Self::Agreed { .. } => false,
        }
    }
}
