//! What nodes say to each other.

use serde::{Deserialize, Serialize};

use super::bounded::{at_most, forwarded_request, page_limit};
use super::client_message::is_false;
use super::{Durability, HintMessage, LayoutMessage, Request, RequestError, Response, ScrubMessage, SyncMessage};
use crate::limits::{KNOWN_INCARNATIONS_MAX, SCAN_ITEMS_MAX};
use crate::version::{Container, Dot, Incarnation, VersionVector};
use crate::{BucketName, NodeId, ObjectKey, PartitionId, StoredValue};

/// A question's number at the node that asks; the reply carries it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExchangeId(pub u64);

/// From a node to a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerMessage {
    /// Read your replica of a key.
    #[serde(rename = "r")]
    Read {
        /// Comes back with the reply.
        exchange: ExchangeId,
        /// How long from now the asker will wait.
        timeout_millis: u32,
        /// What to read.
        key: ObjectKey,
        /// Whether the one asked is no primary, and stands in for one with what it holds as hints.
        #[serde(default, skip_serializing_if = "is_false")]
        stand_in: bool,
    },
    /// To `Read`.
    #[serde(rename = "R")]
    ReadReply {
        /// Of the question.
        exchange: ExchangeId,
        /// What the replica holds, or why it cannot say.
        result: Result<ReplicaRead, ReplicaError>,
    },
    /// Store the outcome of a write event.
    #[serde(rename = "w")]
    Replicate {
        /// Comes back with the reply.
        exchange: ExchangeId,
        /// How long from now the asker will wait.
        timeout_millis: u32,
        /// What was written.
        key: ObjectKey,
        /// The write event. A delete's dot is in the container's vector only.
        dot: Dot,
        /// The coordinator's filled container, with the event in it.
        container: Container<StoredValue>,
        /// Where it must be before the reply.
        durability: Durability,
        /// The primary that the one asked stands in for: it keeps the event as a hint for that one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint_for: Option<NodeId>,
    },
    /// To `Replicate`, and to a `Repair` that asks for it.
    #[serde(rename = "W")]
    ReplicateReply {
        /// Of the question.
        exchange: ExchangeId,
        /// That it is stored, or why it is not.
        result: Result<(), ReplicaError>,
    },
    /// Your replica was seen to be behind this filled container: merge it. A reply, [`Self::ReplicateReply`], if one is asked for.
    #[serde(rename = "m")]
    Repair {
        /// Which key.
        key: ObjectKey,
        /// Filled.
        container: Container<StoredValue>,
        /// Comes back with the reply, if one is asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exchange: Option<ExchangeId>,
    },
    /// The incarnations of yours that I have met. The first message on a link; no reply. A node that does not know all of them as
    /// its own has lost its store: without this an emptied store would pass for that of a new cluster.
    #[serde(rename = "k")]
    Known {
        /// At most [`crate::limits::KNOWN_INCARNATIONS_MAX`], in the order of meeting.
        #[serde(deserialize_with = "at_most::<KNOWN_INCARNATIONS_MAX, _, _>")]
        incarnations: Vec<Incarnation>,
    },
    /// Read one page of your replica of a partition.
    #[serde(rename = "s")]
    Scan {
        /// Comes back with the reply.
        exchange: ExchangeId,
        /// How long from now the asker will wait.
        timeout_millis: u32,
        /// Which bucket.
        bucket: BucketName,
        /// Which partition.
        partition: PartitionId,
        /// Start behind this key.
        after: Option<ObjectKey>,
        /// Most objects of the page, 1 to [`SCAN_ITEMS_MAX`].
        #[serde(deserialize_with = "page_limit")]
        limit: u32,
    },
    /// To `Scan`.
    #[serde(rename = "S")]
    ScanReply {
        /// Of the question.
        exchange: ExchangeId,
        /// The page, or why there is none.
        result: Result<ReplicaPage, ReplicaError>,
    },
    /// Coordinate this write: the sender got it from a client and is no primary of its key.
    #[serde(rename = "f")]
    Forward {
        /// Comes back with the reply.
        exchange: ExchangeId,
        /// How long from now the client will wait.
        timeout_millis: u32,
        /// A put or a delete.
        #[serde(deserialize_with = "forwarded_request")]
        request: Request,
    },
    /// To `Forward`.
    #[serde(rename = "F")]
    ForwardReply {
        /// Of the question.
        exchange: ExchangeId,
        /// What the client is to be told.
        result: Result<Response, RequestError>,
    },
    /// Handing over what was kept for you while you were away.
    #[serde(rename = "h")]
    Hint(HintMessage),
    /// Anti-entropy.
    #[serde(rename = "y")]
    Sync(SyncMessage),
    /// The scrub.
    #[serde(rename = "u")]
    Scrub(ScrubMessage),
    /// The layout.
    #[serde(rename = "l")]
    Layout(LayoutMessage),
}

/// What a replica holds of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaRead {
    /// Filled: "not in it, and covered by its vector" means obsolete.
    pub container: Container<StoredValue>,
    /// Whether the replica has all that it ever acknowledged. One that may have lost something and has not caught up answers
    /// with `false` and does not count towards R.
    pub complete: bool,
}

/// A page of a replica's partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaPage {
    /// Objects in ring order, as stored: to be filled with `base`.
    #[serde(deserialize_with = "at_most::<SCAN_ITEMS_MAX, _, _>")]
    pub objects: Vec<StoredObject>,
    /// The base of the replica's clock at the instant of the page. An object that is not in the page, and lies before its end, is
    /// empty filled with it.
    pub base: VersionVector,
    /// Whether the page reaches the partition's end. If not, it speaks for the range up to its last object.
    pub last: bool,
    /// See [`ReplicaRead::complete`].
    pub complete: bool,
}

/// An object as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// Its key.
    pub key: ObjectKey,
    /// Its container, stripped.
    pub container: Container<StoredValue>,
}

/// Why a replica did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ReplicaError {
    /// It has too much to do.
    #[error("the replica is overloaded")]
    #[serde(rename = "o")]
    Overloaded,
    /// Its storage failed.
    #[error("the replica's storage failed")]
    #[serde(rename = "f")]
    StorageFailed,
    /// It does not hold the partition.
    #[error("the node does not hold the partition")]
    #[serde(rename = "x")]
    NotResponsible,
}
