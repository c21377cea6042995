//! How hints are handed over: what a node kept for another while that one was away (the Dynamo paper, section 4.6).
//!
//! The one that holds them asks, the one they are for sets the pace: each answer says how many bytes the next batch may have, and how
//! much later it is welcome. Both sides may lose any of it: what is not told to be stored is handed over again.

use serde::{Deserialize, Serialize};

use super::bounded::at_most;
use super::{ExchangeId, ReplicaError};
use crate::limits::{HAND_DOTS_MAX, HAND_HINTS_MAX};
use crate::version::{Container, Dot};
use crate::{ObjectKey, PartitionId, StoredValue};

/// About hints, from a node to a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HintMessage {
    /// Store these, durably.
    #[serde(rename = "h")]
    Hand {
        /// Comes back with the reply.
        exchange: ExchangeId,
        /// Which partition all of them are of.
        partition: PartitionId,
        /// At most [`HAND_HINTS_MAX`], in ring order.
        #[serde(deserialize_with = "at_most::<HAND_HINTS_MAX, _, _>")]
        hints: Vec<Handed>,
    },
    /// To `Hand`.
    #[serde(rename = "H")]
    Taken {
        /// Of the question.
        exchange: ExchangeId,
        /// What was stored, or why nothing was.
        result: Result<Taken, ReplicaError>,
    },
}

/// A hint that is handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// Which key.
    pub key: ObjectKey,
    /// What was written while its receiver was away, filled.
    pub container: Container<StoredValue>,
    /// The events the sender vouches for with the container, whose vector covers them.
    #[serde(deserialize_with = "at_most::<HAND_DOTS_MAX, _, _>")]
    pub dots: Vec<Dot>,
}

/// What the receiver of hints says to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// How many of the batch, from its first, are on the receiver's disk.
    pub stored: u32,
    /// How many bytes the next batch may have.
    pub grant_bytes: u32,
    /// How long the sender should wait before it, in milliseconds.
    pub pause_millis: u32,
}
