//! A simulated application: it does one thing after the other, through the production client's routing and retries.

use std::collections::BTreeMap;
use std::fmt;

use quorate_client::Router;
use quorate_client::operation::{AttemptId, Operation};
use quorate_node::SessionId;
use quorate_ring::version::ContextToken;
use quorate_ring::wire::{RequestError, RequestId, Response};
use quorate_ring::{ObjectKey, PartitionId};

use crate::choices::Stream;
use crate::oracle::bits::Bits;
use crate::oracle::truth::WriteId;
use crate::plan::load::{ClientPlan, Put};

/// What a client remembers of a key: a context, and the ghost of what it covers.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// From a read, or a write.
    pub(crate) context: ContextToken,
    /// The writes it stands for.
    pub(crate) ghost: Bits,
}

/// What is to be done with the answer.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// Check the read, remember its context, and then maybe write.
    Get {
        /// Of which key.
        key: usize,
        /// What it has to show.
        required: Bits,
        /// What comes after it.
        then: Then,
    },
    /// Learn what became of the write.
    Write(WriteId),
    /// Check each read.
    GetMany(Vec<(usize, Bits)>),
    /// Learn what became of each write.
    PutMany(Vec<WriteId>),
    /// See that the forged context is refused.
    Forge,
    /// Check the page.
    Scan {
        /// What is read.
        partition: PartitionId,
        /// Where the page begins.
        after: Option<ObjectKey>,
        /// The keys that may be in it, in ring order, and what each has to show.
        keys: Vec<(usize, Bits)>,
    },
}

impl Task {
    /// The key it is about, if it is about one that is known without asking who writes it.
    pub(crate) fn key(&self) -> Option<usize> {
        match self {
            Self::Get { key, .. } => Some(*key),
            _ => None,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |f: &mut fmt::Formatter<'_>, what: &str, count: usize| write!(f, "a {what} of {count} keys");
        match self {
            Self::Get { key, .. } => write!(f, "a get of key {key}"),
            Self::Write(id) => write!(f, "the write {id:?}"),
            Self::GetMany(keys) => count(f, "get", keys.len()),
            Self::PutMany(writes) => count(f, "put", writes.len()),
            Self::Forge => f.write_str("a put with a forged context"),
            Self::Scan { partition, .. } => write!(f, "a page of {partition}"),
        }
    }
}

/// What follows a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing.
    Rest,
    /// A write with its context.
    Write(Put),
    /// A write, with its context, of what the application makes of the values.
    Merge,
}

/// The index of a batch's item, and its answer.
pub(crate) type Answer = (u32, Result<Response, RequestError>);

/// Whether a thing has to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needed {
    /// Faults may prevent it.
    No,
    /// Nothing is in its way.
    Yes,
}

/// A thing being done.
#[derive(Debug)]
pub(crate) struct Doing {
    /// Numbers the things a client does.
    pub(crate) number: u64,
    /// The production state machine of its request.
    pub(crate) operation: Operation,
    /// What for.
    pub(crate) task: Task,
    /// Whether it has to succeed.
    pub(crate) needed: Needed,
    /// Requests under way: their numbers, what they are attempts of, to which node.
    pub(crate) sent: Vec<(RequestId, AttemptId, usize)>,
    /// Batches answered in part.
    pub(crate) parts: BTreeMap<RequestId, Vec<Answer>>,
}

/// A client's connection to a node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClientLink {
    /// Counts connections.
    pub(crate) epoch: u32,
    /// How many faults cut it now.
    pub(crate) cuts: u32,
    /// How many faults lose the node's replies now.
    pub(crate) mute: u32,
}

/// An application.
#[derive(Debug)]
pub(crate) struct Client {
    /// Its view of the ring.
    pub(crate) router: Router,
    /// Its decisions.
    pub(crate) stream: Stream,
    /// What it is doing.
    pub(crate) doing: Option<Doing>,
    /// How many things it has begun.
    pub(crate) begun: u64,
    /// Which of its steps is next.
    pub(crate) next: usize,
    /// How many requests it has sent.
    pub(crate) requests: u64,
    /// Whether others may stand in for primaries that are away, in what it does.
    pub(crate) sloppy: bool,
    /// What it remembers of keys.
    pub(crate) memory: BTreeMap<usize, Seen>,
    /// Its connections, by node.
    pub(crate) links: Vec<ClientLink>,
}

impl Client {
    /// A client that has done nothing yet.
    pub(crate) fn new(router: Router, stream: Stream, nodes: usize) -> Self {
        Self {
            router,
            stream,
            doing: None,
            begun: 0,
            next: 0,
            requests: 0,
            sloppy: false,
            memory: BTreeMap::new(),
            links: vec![ClientLink::default(); nodes],
        }
    }
}

impl Client {
    /// Whether it is doing something, or has still something to do.
    pub(crate) fn is_busy(&self, plan: &ClientPlan) -> bool {
        self.next < plan.steps.len() || self.doing.is_some()
    }
}

const CLIENT_SHIFT: u32 = 32;

/// Names a client's connection to a node.
pub(crate) fn session(client: usize, epoch: u32) -> SessionId {
    SessionId((client as u64) << CLIENT_SHIFT | u64::from(epoch))
}

/// Whose connection it is, and which.
pub(crate) fn client_of(session: SessionId) -> (usize, u32) {
    let epoch = u32::try_from(session.0 & u64::from(u32::MAX)).expect("cut to 32 bits");
    (usize::try_from(session.0 >> CLIENT_SHIFT).expect("a client's index"), epoch)
}
