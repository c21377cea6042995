//! What goes wrong, and when. Nodes are numbered from 1, clients from 0.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::span::Span;
use crate::catalogue::FaultId;

/// A fault with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TimedFault {
    /// When it begins.
    pub at: Span,
    /// How long it lasts; until a node that went down starts again.
    #[serde(default, rename = "for", skip_serializing_if = "Span::is_zero")]
    pub lasting: Span,
    /// What it is.
    pub fault: Fault,
}

/// A link between two nodes.
pub type Pair = [u32; 2];

/// A node, and how much it is to hold beside its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Weighed {
    /// Which.
    pub node: u32,
    /// See [`Capacity`](quorate_ring::Capacity).
    pub capacity: NonZeroU32,
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Fault {
    /// Links are slower by a factor.
    SlowLinks {
        /// Which.
        links: Vec<Pair>,
        /// By how much.
        factor: u32,
    },
    /// Bytes change on the way.
    Corrupt {
        /// On which link.
        link: Pair,
        /// How many messages of a thousand.
        per_mille: u64,
        /// Where.
        layer: Layer,
    },
    /// Nodes of different islands cannot reach each other.
    Islands {
        /// The islands.
        islands: Vec<Vec<u32>>,
    },
    /// Messages pass one way only.
    OneWay {
        /// The ways that are blocked: from, to.
        blocked: Vec<Pair>,
    },
    /// Links are cut: any graph.
    Cut {
        /// Which.
        links: Vec<Pair>,
    },
    /// A client is cut off from nodes.
    CutClient {
        /// Which.
        client: u32,
        /// From whom.
        nodes: Vec<u32>,
    },
    /// A link goes down and up again.
    Flap {
        /// Which.
        link: Pair,
        /// How long it is down, and then up.
        each: Span,
    },
    /// What is sent waits, and then comes all at once.
    Clog {
        /// On which links.
        links: Vec<Pair>,
    },
    /// A link has little bandwidth, and resets when too much waits for it.
    Narrow {
        /// Which.
        link: Pair,
        /// Its bandwidth.
        bytes_per_second: u64,
        /// Most bytes that wait for it.
        queue_bytes: u64,
    },
    /// Each n-th message of a type is lost.
    LoseEach {
        /// Of which type.
        message: MessageKind,
        /// n; 1 loses all.
        nth: u32,
    },
    /// A connection between nodes breaks.
    Reset {
        /// Which.
        link: Pair,
    },
    /// A client's connection breaks.
    ResetClient {
        /// Whose.
        client: u32,
        /// To which node.
        node: u32,
    },
    /// A node's replies to a client are lost.
    LoseReplies {
        /// Whose.
        client: u32,
        /// Which node's.
        node: u32,
    },
    /// The next write that a node sends to its peers reaches only some of them.
    FanOut {
        /// Which node.
        node: u32,
        /// How many.
        reaches: usize,
    },
    /// A process dies.
    Crash {
        /// Whose.
        node: u32,
        /// How much of what its disks had not begun is done all the same, of a thousand.
        #[serde(default)]
        begun: u16,
    },
    /// A process dies within a step.
    CrashAt {
        /// Whose.
        node: u32,
        /// How many inputs it still takes before.
        inputs: u32,
        /// How much of the last one's output it still brings out, of a thousand.
        outputs: u16,
    },
    /// A node is stopped in order.
    Stop {
        /// Which.
        node: u32,
    },
    /// A node is stopped in order, and starts again with a release that speaks another version of the protocol.
    Upgrade {
        /// Which.
        node: u32,
        /// The version.
        protocol: u16,
    },
    /// Machines lose power.
    PowerLoss {
        /// Which.
        nodes: Vec<u32>,
        /// How much of what was flushed and not synced is there afterwards, of a thousand.
        keeps: u16,
        /// Whether it happens while a batch is being written, of which nothing may remain.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        torn: bool,
    },
    /// A machine gets empty disks.
    ReplaceDisks {
        /// Which.
        node: u32,
    },
    /// A copy of a node's store is made when the fault begins, and put in its place when it ends.
    OldCopy {
        /// Of which.
        node: u32,
    },
    /// Two machines have each other's disks; neither may start on them. When the fault ends they have their own again.
    SwapDisks {
        /// Which.
        nodes: Pair,
    },
    /// A process stands still.
    Pause {
        /// Whose.
        node: u32,
    },
    /// A process stands still again and again.
    Stutter {
        /// Whose.
        node: u32,
        /// How long it runs each time.
        runs: Span,
        /// And how long it stands.
        stands: Span,
    },
    /// A machine's clocks go wrong.
    Clock {
        /// Whose.
        node: u32,
        /// By how much its wall clock jumps, in milliseconds.
        jump_millis: i64,
        /// By how much its monotonic clock runs fast, in millionths.
        drift_ppm: i32,
    },
    /// A machine's wall clock jumps ahead and back again, and so on.
    Strobe {
        /// Whose.
        node: u32,
        /// By how much, in milliseconds.
        by_millis: i64,
        /// How long it stays there, and then back.
        each: Span,
    },
    /// A node is cut off, and meanwhile the wall clocks of all others pass whatever expires; its own does not.
    Horizon {
        /// Which.
        node: u32,
    },
    /// The next write to a disk fails.
    WriteFailure {
        /// Whose.
        node: u32,
    },
    /// The next sync of a disk fails.
    SyncFailure {
        /// Whose.
        node: u32,
    },
    /// Syncs say that they are done, and are not.
    LyingSync {
        /// Whose.
        node: u32,
    },
    /// The next read of a disk fails.
    ReadFailure {
        /// Whose.
        node: u32,
    },
    /// A stored object rots: it cannot be read any more.
    Rot {
        /// Where.
        node: u32,
        /// Which key's.
        key: usize,
    },
    /// A write lands on another's place: neither can be read any more.
    Misdirect {
        /// Where.
        node: u32,
        /// The two keys.
        keys: [usize; 2],
    },
    /// A disk forgets an object, as if its last write had landed nowhere. It strikes when all is healed and quiet, whatever its time: while
    /// requests go on, no replica can tell such a loss from a delete, and would pass it on.
    Forget {
        /// Where.
        node: u32,
        /// Which key's.
        key: usize,
    },
    /// Members change: an operator stages it at a node, and commits it there, as soon as that answers. Nodes that are removed go down for good at
    /// the same time: until everything is healed, when they are back with all that they had.
    Members {
        /// At which node.
        by: u32,
        /// Who joins.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        join: Vec<u32>,
        /// Who leaves, and hands over what it holds.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        leave: Vec<u32>,
        /// Who is dead.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        remove: Vec<u32>,
        /// Whose capacity is another, and what it is; 100 is usual. One that takes no part joins with it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        weigh: Vec<Weighed>,
    },
    /// A disk is full: writes fail, also after a start.
    DiskFull {
        /// Whose.
        node: u32,
    },
    /// A disk is slow.
    SlowDisk {
        /// Whose.
        node: u32,
    },
    /// A disk does nothing.
    StallDisk {
        /// Whose.
        node: u32,
    },
    /// From now on another R and W are the default, at each node from its next start.
    Quorum {
        /// R.
        r: u8,
        /// W.
        w: u8,
    },
    /// Someone of another cluster, ring or protocol connects.
    Stranger {
        /// To whom.
        node: u32,
    },
}

/// Where bytes change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// In the frame: its checksum finds it.
    Frame,
    /// Before the checksum is made: the decoder has to bear it.
    Payload,
}

/// A type of message between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageKind {
    /// A replica is asked to read.
    Read,
    /// Its answer.
    ReadReply,
    /// A replica is asked to store.
    Replicate,
    /// Its answer.
    ReplicateReply,
    /// A replica is sent what it lacks.
    Repair,
    /// Anti-entropy.
    Sync,
    /// A write is handed over.
    Forward,
    /// Its answer.
    ForwardReply,
    /// A node tells which incarnations it has met, or which layout it has.
    Known,
    /// Hints are handed over.
    Hint,
    /// The answer to that.
    HintReply,
}

impl MessageKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Read,
        Self::ReadReply,
        Self::Replicate,
        Self::ReplicateReply,
        Self::Repair,
        Self::Sync,
        Self::Forward,
        Self::ForwardReply,
        Self::Known,
        Self::Hint,
        Self::HintReply,
    ];
}

impl Fault {
    /// Its number in the catalogue.
    pub fn id(&self) -> FaultId {
        match self {
            Self::SlowLinks { .. } => FaultId::N5,
            Self::Corrupt { .. } => FaultId::N6,
            Self::Islands { .. } => FaultId::N7,
            Self::OneWay { .. } => FaultId::N8,
            Self::Cut { .. } => FaultId::N9,
            Self::CutClient { .. } => FaultId::N10,
            Self::Flap { .. } => FaultId::N11,
            Self::Clog { .. } => FaultId::N12,
            Self::Narrow { .. } => FaultId::N13,
            Self::LoseEach { .. } => FaultId::N14,
            Self::Reset { .. } => FaultId::N15,
            Self::ResetClient { .. } | Self::LoseReplies { .. } => FaultId::L2,
            Self::FanOut { .. } => FaultId::N16,
            Self::Crash { .. } | Self::Stop { .. } => FaultId::P1,
            Self::CrashAt { .. } => FaultId::P8,
            Self::PowerLoss { torn: true, .. } => FaultId::D2,
            Self::PowerLoss { nodes, .. } if 1 < nodes.len() => FaultId::P7,
            Self::PowerLoss { .. } => FaultId::P2,
            Self::ReplaceDisks { .. } => FaultId::P3,
            Self::OldCopy { .. } | Self::SwapDisks { .. } => FaultId::P4,
            Self::Pause { .. } | Self::Stutter { .. } => FaultId::P5,
            Self::Clock { .. } | Self::Strobe { .. } => FaultId::P6,
            Self::SyncFailure { .. } | Self::LyingSync { .. } => FaultId::D1,
            Self::ReadFailure { .. } => FaultId::D5,
            Self::Rot { .. } => FaultId::D3,
            Self::Misdirect { .. } | Self::Forget { .. } => FaultId::D4,
            Self::WriteFailure { .. } | Self::DiskFull { .. } => FaultId::D6,
            Self::SlowDisk { .. } | Self::StallDisk { .. } => FaultId::D7,
            Self::Quorum { .. } => FaultId::M3,
            Self::Horizon { .. } => FaultId::G1,
            Self::Stranger { .. } => FaultId::B1,
            Self::Members { .. } => FaultId::M1,
            Self::Upgrade { .. } => FaultId::V1,
        }
    }

    /// Whether a disk is left with something else than what it was given, or a part of that.
    pub const fn damages(&self) -> bool {
        matches!(
            self,
            Self::Rot { .. }
                | Self::Misdirect { .. }
                | Self::Forget { .. }
                | Self::ReadFailure { .. }
                | Self::LyingSync { .. }
                | Self::OldCopy { .. }
                | Self::SwapDisks { .. }
        )
    }

    /// The nodes that lose what they had flushed, or synced.
    pub fn losing(&self) -> &[u32] {
        match self {
            Self::PowerLoss { nodes, .. } => nodes,
            Self::ReplaceDisks { node }
            | Self::OldCopy { node }
            | Self::LyingSync { node }
            | Self::Rot { node, .. }
            | Self::Misdirect { node, .. } => std::slice::from_ref(node),
            _ => &[],
        }
    }

    /// All the nodes it names.
    pub fn nodes(&self) -> Vec<u32> {
        match self {
            Self::SlowLinks { links, .. } | Self::Cut { links } | Self::Clog { links } => links.concat(),
            Self::OneWay { blocked } => blocked.concat(),
            Self::Islands { islands } => islands.concat(),
            Self::CutClient { nodes, .. } | Self::PowerLoss { nodes, .. } => nodes.clone(),
            Self::Corrupt { link, .. } | Self::Flap { link, .. } | Self::Narrow { link, .. } | Self::Reset { link } => {
                link.to_vec()
            }
            Self::SwapDisks { nodes } => nodes.to_vec(),
            Self::ResetClient { node, .. }
            | Self::LoseReplies { node, .. }
            | Self::FanOut { node, .. }
            | Self::Crash { node, .. }
            | Self::CrashAt { node, .. }
            | Self::Stop { node }
            | Self::Upgrade { node, .. }
            | Self::ReplaceDisks { node }
            | Self::OldCopy { node }
            | Self::Pause { node }
            | Self::Stutter { node, .. }
            | Self::Clock { node, .. }
            | Self::Strobe { node, .. }
            | Self::Horizon { node }
            | Self::WriteFailure { node }
            | Self::SyncFailure { node }
            | Self::LyingSync { node }
            | Self::ReadFailure { node }
            | Self::Rot { node, .. }
            | Self::Misdirect { node, .. }
            | Self::Forget { node, .. }
            | Self::DiskFull { node }
            | Self::SlowDisk { node }
            | Self::StallDisk { node }
            | Self::Stranger { node } => vec![*node],
            Self::Members { by, join, leave, remove, weigh } => {
                let weighed = weigh.iter().map(|weighed| &weighed.node);
                [by].into_iter().chain(join).chain(leave).chain(remove).chain(weighed).copied().collect()
            }
            Self::LoseEach { .. } | Self::Quorum { .. } => Vec::new(),
        }
    }

    /// The client it names.
    pub fn client(&self) -> Option<u32> {
        match self {
            Self::CutClient { client, .. } | Self::ResetClient { client, .. } | Self::LoseReplies { client, .. } => {
                Some(*client)
            }
            _ => None,
        }
    }
}
