//! One small state machine for each client request, run by the shard that got it.
//!
//! | request | machine | asks |
//! |---|---|---|
//! | get, page of a scan | [`read::Read`] | the R primaries that are expected to answer first, and more of them when some fail or are slow |
//! | put, delete | [`write::Write`] | its own replica for the event, then all other primaries to store it |
//! | put, delete at a node that is no primary | [`forward::Forward`] | a primary to coordinate |
//! | batches | [`batch::Batch`] | one of the above for each item |
//!
//! The machines count, merge and decide; the shard sends. Each ends by its deadline, whatever is lost.

pub mod asking;
pub mod batch;
pub mod forward;
pub mod read;
pub mod repair;
pub mod tally;
pub mod write;

use quorate_ring::NodeId;
use quorate_ring::wire::{ExchangeId, ReplicaAnswer, ReplicaError, RequestId};

use crate::SessionId;
use crate::admission::share::Party;

/// A request being worked on in a shard. Its number is also that of every question it asks peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoordinationId(pub u64);

impl CoordinationId {
    /// The number that questions of this request carry.
    pub const fn exchange(self) -> ExchangeId {
        ExchangeId(self.0)
    }
}

/// Who gets the answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyTo {
    /// A client.
    Client {
        /// Its connection.
        session: SessionId,
        /// Its number for the request.
        request: RequestId,
    },
    /// A peer that forwarded a client's write.
    Peer {
        /// Which.
        node: NodeId,
        /// Its question.
        exchange: ExchangeId,
    },
    /// A batch of this shard.
    Batch {
        /// Which.
        batch: CoordinationId,
        /// The item's index in the client's batch.
        index: u32,
        /// Whose batch it is.
        party: Party,
    },
}

impl ReplyTo {
    /// Whose request it is.
    pub const fn party(self) -> Party {
        match self {
            Self::Client { session, .. } => Party::Session(session),
            Self::Peer { node, .. } => Party::Peer(node),
            Self::Batch { party, .. } => party,
        }
    }
}

/// What a replica's error counts as.
pub fn answer_of(error: ReplicaError) -> ReplicaAnswer {
    match error {
        ReplicaError::Overloaded => ReplicaAnswer::Overloaded,
        ReplicaError::StorageFailed => ReplicaAnswer::StorageFailed,
        ReplicaError::NotResponsible => ReplicaAnswer::NotResponsible,
    }
}
