//! What can happen.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quorate_node::membership::Standing;
use quorate_node::storage::{Completion, OperationId, StorageError};
use quorate_node::{Progress, SessionId, Time};
use quorate_ring::NodeId;
use quorate_ring::layout::Placement;
use quorate_ring::version::Incarnation;
use quorate_ring::wire::{ClientMessage, NodeMessage, PeerMessage, Protocol, RequestId};

use crate::story::Ticket;

/// Something that happens. Nodes and clients are named by their index; what is meant for a node's earlier life is dropped.
#[derive(Debug)]
pub(super) enum Event {
    /// A message between nodes arrives.
    Message(Box<Envelope>),
    /// A client's request arrives.
    Request { node: usize, life: u32, session: SessionId, message: Box<ClientMessage>, ticket: Ticket },
    /// A node's reply arrives.
    Reply { node: usize, session: SessionId, message: Box<NodeMessage>, ticket: Ticket },
    /// A client learns that a request was not sent, or that the connection it was sent on is gone.
    RequestLost { client: usize, request: RequestId, sent: bool },
    /// A process learns that a connection to a peer is there, and of which incarnation the peer is; or that it is gone.
    PeerTold { node: usize, life: u32, peer: usize, up: Option<(Incarnation, Protocol)> },
    /// Two nodes try to connect.
    Connect { pair: [usize; 2] },
    /// A disk does the oldest turn in its queue.
    DiskTurn { node: usize, life: u32, shard: usize },
    /// A shard learns that storage operations are done.
    Completed { node: usize, life: u32, shard: usize, completions: Vec<Done> },
    /// A node's disks sync, for someone who waits.
    Sync { node: usize, life: u32 },
    /// A node's disks sync, for nobody.
    BackgroundSync { node: usize, life: u32 },
    /// A shard is told the time.
    Wake { node: usize, life: u32, shard: usize },
    /// A client looks at what it is doing, if it is still doing that.
    ClientWake { client: usize, doing: u64 },
    /// A fault of the plan begins.
    FaultBegins { index: usize },
    /// A fault of the plan ends.
    FaultEnds { index: usize },
    /// A flapping link goes down, or up.
    Flap { pair: [usize; 2], down: bool },
    /// A machine's wall clock jumps, and back again.
    WallJump { node: usize, millis: i64 },
    /// A stuttering process stands still.
    Stand { node: usize, life: u32, until: Time },
    /// A connection on which nothing comes through one way is given up, if that is still so.
    GiveUp { from: usize, to: usize, epoch: u32 },
    /// A machine is switched on.
    Start { node: usize },
    /// An operator does what is next of a change of members.
    Operate { index: usize },
    /// A shard is told who holds what.
    Placed { node: usize, life: u32, shard: usize, placement: Arc<Placement> },
    /// A datagram between nodes arrives.
    Datagram(Box<DatagramOnItsWay>),
    /// A shard is told what the node thinks of the others.
    Opined { node: usize, life: u32, shard: usize, standings: Arc<BTreeMap<NodeId, Standing>> },
    /// The first shard is told how far another has come.
    Progressed { node: usize, life: u32, shard: usize, progress: Progress },
}

/// A storage operation that is done.
pub(super) type Done = (OperationId, Result<Completion, StorageError>);

/// A message between nodes, bound to the lives of both and to their connection.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) lives: [u32; 2],
    pub(super) epoch: u32,
    pub(super) message: PeerMessage,
    pub(super) ticket: Ticket,
}

/// A datagram between nodes, bound to the lives of both and to their connection.
#[derive(Clone, Debug)]
pub(super) struct DatagramOnItsWay {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) lives: [u32; 2],
    pub(super) epoch: u32,
    pub(super) bytes: Bytes,
}
