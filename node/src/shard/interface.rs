//! What a shard is made of, what it is told, and what it wants done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_ring::layout::Placement;
use quorate_ring::version::{Actor, ContextKey, Incarnation};
use quorate_ring::wire::{Durability, PeerMessage, Protocol, Request, RequestError, RequestId, Response};
use quorate_ring::{NodeId, Quorum, WallTime};

use super::Progress;
use crate::handoff::hint::bounds::HintBounds;
use crate::membership::{self, Pace};
use crate::scrub::ScrubPace;
use crate::start::Standing;
use crate::storage::{Completion, Operation, OperationId, StorageError};

/// A client's connection, numbered by whoever drives the shard; replies name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// What a shard must be told to begin.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// The actor whose events this process makes: the node, and its incarnation.
    pub actor: Actor,
    /// N, and R and W where a request has none.
    pub quorum: Quorum,
    /// The earlier incarnations that the store remembers as its own.
    pub ancestors: BTreeSet<Incarnation>,
    /// Where a write must be to count where a request does not say.
    pub durability: Durability,
    /// Authenticates contexts; the same in the whole cluster.
    pub context_key: ContextKey,
    /// Which shard of the node this is.
    pub shard: u8,
    /// How many shards the node runs.
    pub shards: u8,
    /// Whether the store has all that was ever acknowledged from it.
    pub standing: Standing,
    /// Of the shard's generator. Differs in every process.
    pub seed: u64,
    /// What the wall clock shows.
    pub wall: WallTime,
    /// How many hints it keeps.
    pub hints: HintBounds,
    /// How long after a comparison of clocks with a peer the next one begins, give or take a quarter; usually
    /// [`EXCHANGE_INTERVAL`](crate::limits::EXCHANGE_INTERVAL).
    pub exchange_interval: Duration,
    /// Most objects in a page of a partition that is received as a whole, at least 1; usually
    /// [`TRANSFER_PAGE`](crate::limits::TRANSFER_PAGE), which is also the most.
    pub transfer_page: u32,
    /// How fast its scrub goes; nothing for none but of what is met by chance.
    pub scrub: Option<ScrubPace>,
    /// How often the failure detector asks, and how long it waits. For the first shard, if it keeps the layout.
    pub pace: Pace,
}

/// What a shard is told.
#[derive(Debug)]
pub enum Input {
    /// A client asks for something.
    ClientRequest {
        /// Its connection.
        session: SessionId,
        /// Its number for the request.
        id: RequestId,
        /// How long it will wait.
        timeout_millis: u32,
        /// What it asks.
        request: Request,
        /// For a batch that was split over shards: the indices of these items in the client's batch.
        indices: Option<Vec<u32>>,
    },
    /// A peer says something, on the connection that is up now.
    PeerMessage {
        /// Who.
        from: NodeId,
        /// What.
        message: PeerMessage,
    },
    /// There is a connection to a peer.
    PeerConnected {
        /// Which.
        peer: NodeId,
        /// The incarnation it says it is.
        incarnation: Incarnation,
        /// What is spoken on it.
        protocol: Protocol,
    },
    /// The connection to a peer is gone, and with it what was on its way either way.
    PeerDisconnected(NodeId),
    /// A datagram came on the connection to a peer. For the first.
    Datagram {
        /// From whom.
        from: NodeId,
        /// What it says, which nobody has looked at.
        datagram: Bytes,
    },
    /// A storage operation is done.
    Completed {
        /// Which.
        id: OperationId,
        /// How it went.
        result: Result<Completion, StorageError>,
    },
    /// Who holds what from now on. For all shards but the first, which keeps the layout itself.
    Placement(Arc<Placement>),
    /// Another shard of the node has come further. For the first.
    Progress {
        /// Which.
        shard: u8,
        /// How far.
        progress: Progress,
    },
    /// What is thought of the other nodes from now on. For all shards but the first, which finds it out.
    Standings(Arc<BTreeMap<NodeId, membership::Standing>>),
    /// The wall clock shows this. Wanted about every second, and with the first input after a longer rest: in between the shard goes
    /// by the monotonic time.
    WallClock(WallTime),
    /// Nothing, but time has passed.
    Time,
}

/// What a shard wants done.
#[derive(Debug)]
pub enum Output {
    /// Say this to a peer.
    SendPeer {
        /// To whom.
        to: NodeId,
        /// What.
        message: PeerMessage,
    },
    /// Send this to a peer as a datagram of its own: it may be lost, and overtake what was said before.
    Datagram {
        /// To whom.
        to: NodeId,
        /// What: at most [`SWIM_DATAGRAM_BYTES_MAX`](crate::limits::SWIM_DATAGRAM_BYTES_MAX) bytes.
        datagram: Bytes,
    },
    /// Answer a client.
    Reply {
        /// Its connection.
        session: SessionId,
        /// Its number for the request.
        id: RequestId,
        /// The answer.
        result: Result<Response, RequestError>,
    },
    /// Have the store do this.
    Store {
        /// Comes back with the completion.
        id: OperationId,
        /// What.
        operation: Operation,
    },
    /// This shard has caught up with all its peers after a loss: reads count on it again. When all shards of the node have, this should
    /// be remembered across restarts.
    CaughtUp,
    /// A peer has met incarnations of this node that its store does not remember: the store was emptied or set back. From now on
    /// it does not count towards reads. This and the incarnations should be remembered across restarts, together:
    /// [`crate::start::remember_lost`].
    LossFound {
        /// The peer.
        by: NodeId,
        /// The incarnations.
        lost: Vec<Incarnation>,
    },
    /// No peer has met an earlier incarnation of this node: its store, empty at its first start, was that of a new node. This should
    /// be remembered across restarts.
    Proven,
    /// Tell the node's other shards who holds what from now on, and connect to those who take part.
    Placement(Arc<Placement>),
    /// Tell the first shard how far this one has come.
    Progress(Progress),
    /// Tell the node's other shards what is thought of the other nodes from now on.
    Standings(Arc<BTreeMap<NodeId, membership::Standing>>),
    /// The store failed: nothing more will be served, and an operator must act.
    StorageFailed {
        /// What the store said.
        reason: String,
    },
}
