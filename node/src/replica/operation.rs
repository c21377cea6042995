//! What is asked of the replica side, and what it has to tell.

use quorate_ring::version::{Container, Dot, NodeClock, VersionVector};
use quorate_ring::wire::{Durability, ExchangeId, HeldObject, ReplicaError, ReplicaPage, ReplicaRead, StoredObject};
use quorate_ring::{NodeId, ObjectKey, StoredValue, Ttl, Value};

use super::clocks::Barrier;
use crate::Time;
use crate::coordinator::CoordinationId;

/// Who is told how an operation went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A coordinator of this shard.
    Coordinator(CoordinationId),
    /// A peer.
    Peer {
        /// Which.
        node: NodeId,
        /// Its question.
        exchange: ExchangeId,
    },
    /// A peer that hands over a batch of hints.
    Hinter {
        /// Which.
        node: NodeId,
        /// Its question.
        exchange: ExchangeId,
        /// The hint's place in the batch.
        index: u32,
    },
    /// This shard's anti-entropy, which is catching up with a peer.
    CatchUp {
        /// Which peer.
        peer: NodeId,
        /// The number of what was asked of it.
        exchange: ExchangeId,
    },
    /// This shard's anti-entropy, for a peer that catches up.
    Answer {
        /// Which peer.
        peer: NodeId,
        /// Its question.
        exchange: ExchangeId,
    },
    /// This shard's scrub.
    Scrub(ExchangeId),
    /// This shard's scrub, for a peer's.
    Scrubber {
        /// Which peer.
        node: NodeId,
        /// Its question.
        exchange: ExchangeId,
    },
    /// Nobody: repair.
    Nobody,
}

/// What a client's write does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Adds a value, which lives so long from its making; for ever without a ttl.
    Put(Value, Option<Ttl>),
    /// Adds none.
    Delete,
}

/// What is asked of a key's replica.
#[derive(Clone, Debug)]
pub enum KeyOperation {
    /// Read it.
    Read {
        /// Who wants it.
        asker: Asker,
        /// When the asker no longer waits.
        deadline: Time,
    },
    /// Make a write event of it, as the coordinating replica.
    Write {
        /// Who coordinates.
        coordination: CoordinationId,
        /// What it does.
        event: Event,
        /// What it replaces.
        context: VersionVector,
        /// When it counts as stored here.
        durability: Durability,
        /// When the coordinator no longer waits; a write not yet begun is dropped then.
        deadline: Time,
    },
    /// Merge a peer's filled container into it.
    Merge {
        /// Who wants to know.
        asker: Asker,
        /// The container, filled by the sender.
        container: Container<StoredValue>,
        /// The events the sender vouches for with the container, beside those of its values: none for repair. Its vector covers them.
        dots: Vec<Dot>,
        /// When it counts as stored here.
        durability: Durability,
    },
    /// Merge what a peer replicates: as [`Self::Merge`], but refused where it has waited in a queue that is nearly full beyond the time
    /// for which its coordinator waits. It has given up then, and what is not stored here now comes by anti-entropy, when there is
    /// less to do.
    Replicate {
        /// Who wants to know.
        asker: Asker,
        /// The container, filled by the sender.
        container: Container<StoredValue>,
        /// The write event. The container's vector covers it.
        dot: Dot,
        /// When it counts as stored here.
        durability: Durability,
        /// When the coordinator no longer waits.
        deadline: Time,
    },
    /// Store it without the values that have expired, and without what the base of the clock says by now; if nothing is left, remove
    /// it. Where nothing changes, nothing is written.
    Tidy {
        /// Who wants to know.
        asker: Asker,
    },
    /// Write it anew, if it cannot be read and this accounts for all that it may have held; see [`super::mending`].
    Mend {
        /// Who wants to know.
        asker: Asker,
        /// What the others hold together, filled.
        container: Container<StoredValue>,
        /// Why it may take the place of what was here.
        evidence: Evidence,
    },
    /// Put back values that are missing though their events are known: the disk has lost them.
    Restore {
        /// Who wants to know.
        asker: Asker,
        /// What another replica holds, as stored.
        container: Container<StoredValue>,
        /// The hash of the partition's clock with which the other was found to differ. If it has changed since, nothing is done.
        clock: u64,
    },
}

/// Why what others hold of a key may take the place of a copy that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// They have received all events that this replica had, which were in these clocks.
    Received(NodeClock),
    /// All nodes were asked, and none has what is missing: it is gone. Of the copy that was found unreadable by this number.
    Gone(u64),
}

impl KeyOperation {
    /// The bytes of the values in it.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Write { event: Event::Put(value, _), .. } => value.as_bytes().len(),
            Self::Merge { container, .. }
            | Self::Replicate { container, .. }
            | Self::Mend { container, .. }
            | Self::Restore { container, .. } => bytes_of(container),
            Self::Read { .. } | Self::Write { .. } | Self::Tidy { .. } => 0,
        }
    }
}

/// The bytes of the values in a container.
pub(crate) fn bytes_of(container: &Container<StoredValue>) -> usize {
    container.values().map(|(_, stored)| stored.value.as_bytes().len()).sum()
}

/// A page of a partition, as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Objects in ring order, stripped of what the clock's base says.
    pub objects: Vec<StoredObject>,
    /// The clock at the instant of the page.
    pub clock: NodeClock,
    /// Whether it reaches the end of the partition.
    pub last: bool,
    /// Whether the replica has all that it ever acknowledged of the partition.
    pub complete: bool,
}

impl From<Page> for ReplicaPage {
    fn from(page: Page) -> Self {
        let Page { objects, clock, last, complete } = page;
        Self { objects, base: clock.base().clone(), last, complete }
    }
}

/// What the replica side has to tell the rest of the shard.
#[derive(Debug)]
pub enum Report {
    /// A read is done.
    Read {
        /// Who asked.
        asker: Asker,
        /// For what.
        key: ObjectKey,
        /// What there is.
        result: Result<ReplicaRead, ReplicaError>,
    },
    /// A write event has been made and submitted, and can be sent to the other replicas. It is *not* stored yet.
    Made {
        /// Who coordinates.
        coordination: CoordinationId,
        /// The event.
        dot: Dot,
        /// The key's container with the event, filled.
        container: Container<StoredValue>,
    },
    /// A write event was refused before anything happened.
    Refused {
        /// Who coordinates.
        coordination: CoordinationId,
        /// Why.
        reason: WriteRefusal,
    },
    /// A write or merge is stored as durably as asked, or is not.
    Stored {
        /// Who asked.
        asker: Asker,
        /// How it went.
        result: Result<(), ReplicaError>,
    },
    /// A page of a partition is read.
    Page {
        /// Who asked.
        asker: Asker,
        /// What there is.
        result: Result<Page, ReplicaError>,
    },
    /// Everything that was submitted before a barrier is durable.
    Reached(Barrier),
    /// The store was set back to an earlier state while nobody looked.
    SetBack,
    /// The store failed: this and everything that comes is refused.
    Poisoned {
        /// What the store said.
        reason: String,
    },
    /// A key was read for a peer's scrub.
    Held {
        /// Which peer.
        node: NodeId,
        /// Its question.
        exchange: ExchangeId,
        /// What there is.
        held: HeldObject,
    },
    /// A key cannot be read, and was not known to be so.
    Unreadable(ObjectKey),
    /// A stored entry cannot be read; an operator should know.
    Damaged {
        /// What is wrong.
        reason: String,
    },
}

/// Why a write event was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteRefusal {
    /// The replica could not do it.
    Replica(ReplicaError),
    /// It would have been kept for primaries that are away, and there is no room for more.
    HintsFull,
    /// The key has too many siblings, and the write replaces none.
    TooManySiblings {
        /// How many.
        siblings: usize,
        /// How large together.
        bytes: usize,
    },
}
