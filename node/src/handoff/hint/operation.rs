//! What is asked of the hints, and what they have to tell.

use quorate_ring::version::{Container, Dot, VersionVector};
use quorate_ring::wire::Durability;
use quorate_ring::{NodeId, ObjectKey, StoredValue};

use super::layout::StoredHint;
use crate::Time;
use crate::coordinator::CoordinationId;
use crate::replica::{Asker, Event, Report};

/// What is asked of a key's hints.
#[derive(Clone, Debug)]
pub enum HintOperation {
    /// Keep a write for a node.
    Keep {
        /// Who wants to know.
        asker: Asker,
        /// Whom it is for: a primary of the key.
        target: NodeId,
        /// The coordinator's filled container.
        container: Container<StoredValue>,
        /// The write event.
        dot: Dot,
        /// When it counts as kept.
        durability: Durability,
    },
    /// Make a write event in the place of the primaries, and keep it for all of them.
    Make {
        /// Who coordinates.
        coordination: CoordinationId,
        /// What it does.
        event: Event,
        /// What it replaces.
        context: VersionVector,
        /// When it counts as kept.
        durability: Durability,
        /// When the coordinator no longer waits; an event not yet made is dropped then.
        deadline: Time,
    },
    /// Read what is kept of the key, for all nodes together.
    Read {
        /// Who wants it.
        asker: Asker,
        /// When the asker no longer waits.
        deadline: Time,
    },
    /// A node has stored this hint: it goes, if it is still that.
    Delivered {
        /// Whom it was for.
        target: NodeId,
        /// What was handed over.
        hint: StoredHint,
    },
}

/// What the hints have to tell.
#[derive(Debug)]
pub enum HintReport {
    /// What the replica side would tell, too.
    Of(Report),
    /// A hint that was delivered is gone, or stays because it has changed.
    Settled(NodeId),
    /// A page of what is kept for a node is read.
    Page {
        /// Whom it is for.
        target: NodeId,
        /// The hints in ring order, and whether the range that was asked for has no more; nothing if it could not be read.
        read: Option<(Vec<(ObjectKey, StoredHint)>, bool)>,
    },
}
