//! What can go wrong with a request, told so that the asker knows who is at fault, what was wanted and seen, whether anything
//! changed and whether to try again.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::bounded::at_most;
use crate::NodeId;
use crate::limits::NODES_MAX;
use crate::version::InvalidContext;

/// What one replica had to say to a request, for errors that name everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaAnswer {
    /// It did what was asked.
    #[serde(rename = "d")]
    Done,
    /// It answered a read, but may have lost writes and has not caught up, so it does not count towards R.
    #[serde(rename = "c")]
    CatchingUp,
    /// It had too much to do.
    #[serde(rename = "o")]
    Overloaded,
    /// Its storage failed.
    #[serde(rename = "f")]
    StorageFailed,
    /// It does not hold the key's partition.
    #[serde(rename = "x")]
    NotResponsible,
    /// There is no connection to it.
    #[serde(rename = "u")]
    Unreachable,
    /// It was asked and had not answered when the request ended.
    #[serde(rename = "s")]
    Silent,
    /// It was not asked.
    #[serde(rename = "n")]
    NotAsked,
}

impl fmt::Display for ReplicaAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "answered",
            Self::CatchingUp => "answered but is still catching up after a loss",
            Self::Overloaded => "is overloaded",
            Self::StorageFailed => "has a failed storage",
            Self::NotResponsible => "does not hold the partition",
            Self::Unreachable => "is unreachable",
            Self::Silent => "had not answered",
            Self::NotAsked => "was not asked",
        })
    }
}

/// Why a request failed, as the node tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RequestError {
    /// The request cannot be: the client is at fault and nothing changed. Do not retry.
    #[error("invalid request: {reason}")]
    #[serde(rename = "i")]
    Invalid {
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// The context is not one this cluster gave out for this key. Nothing changed. Do not retry.
    #[error("invalid context: {0}")]
    #[serde(rename = "c")]
    Context(InvalidContext),
    /// The key already has so many or so large siblings that one more cannot be kept. Nothing changed: read the key, merge, and
    /// write with the context of the read.
    #[error(
        "the key already has {siblings} siblings of {bytes} bytes in all, and this write would add one more; read it, merge, \
         and write with the context of the read"
    )]
    #[serde(rename = "m")]
    TooManySiblings {
        /// How many there are.
        siblings: u32,
        /// How large they are together.
        bytes: u64,
    },
    /// Fewer than R primaries could answer a read. Retry later.
    #[error("{reached} of the {needed} replicas needed answered the read: {}", Answers(answers))]
    #[serde(rename = "r")]
    ReadQuorum {
        /// R.
        needed: u8,
        /// How many answers counted.
        reached: u8,
        /// What each primary said, in preference order.
        #[serde(deserialize_with = "at_most::<NODES_MAX, _, _>")]
        answers: Vec<(NodeId, ReplicaAnswer)>,
    },
    /// Fewer than W primaries stored a write. It may survive in those that did, were silent, or whose storage failed: the outcome
    /// is unknown unless `reached` is 0 and there are none of these.
    #[error("{reached} of the {needed} replicas needed stored the write: {}", Answers(answers))]
    #[serde(rename = "w")]
    WriteQuorum {
        /// W.
        needed: u8,
        /// How many stored it.
        reached: u8,
        /// What each primary said, in preference order.
        #[serde(deserialize_with = "at_most::<NODES_MAX, _, _>")]
        answers: Vec<(NodeId, ReplicaAnswer)>,
    },
    /// The node has too much to do and did nothing. Retry later or elsewhere.
    #[error("{node} is overloaded: {what}")]
    #[serde(rename = "o")]
    Overloaded {
        /// Which node.
        node: NodeId,
        /// Which bound was met.
        what: String,
    },
    /// The node's storage failed, or cannot read the key, before anything was done. Nothing changed. Retry elsewhere.
    #[error("the storage of {node} failed: {reason}")]
    #[serde(rename = "f")]
    StorageFailed {
        /// Which node.
        node: NodeId,
        /// What its storage said.
        reason: String,
    },
    /// No primary of the key can be reached from the node that got a write, and it is none itself. Nothing changed.
    #[error("no primary of the key can be reached from {node}: {}", Answers(answers))]
    #[serde(rename = "p")]
    NoPrimary {
        /// The node that says so.
        node: NodeId,
        /// The primaries and what is known of each.
        #[serde(deserialize_with = "at_most::<NODES_MAX, _, _>")]
        answers: Vec<(NodeId, ReplicaAnswer)>,
    },
    /// The primary that a write was forwarded to went away or was silent: the outcome is unknown.
    #[error(
        "{node} forwarded the write to {primary}, which went away or did not answer in time; its outcome is unknown"
    )]
    #[serde(rename = "u")]
    ForwardLost {
        /// The node that forwarded.
        node: NodeId,
        /// The primary it forwarded to.
        primary: NodeId,
    },
    /// The node is stopping and did nothing. Retry elsewhere.
    #[error("{node} is stopping")]
    #[serde(rename = "s")]
    Stopping {
        /// Which node.
        node: NodeId,
    },
}

impl RequestError {
    /// Whether the same request may be sent again, to any node, without any risk that it is done twice.
    pub fn nothing_changed(&self) -> bool {
        match self {
            Self::Invalid { .. }
            | Self::Context(_)
            | Self::TooManySiblings { .. }
            | Self::ReadQuorum { .. }
            | Self::Overloaded { .. }
            | Self::StorageFailed { .. }
            | Self::NoPrimary { .. }
            | Self::Stopping { .. } => true,
            Self::WriteQuorum { reached, answers, .. } => {
                // A storage that says it failed may have written all the same. While one ring follows another the quorum that has fewest
                // counts, and one who stored it may be of the other.
                let in_doubt = |answer: &ReplicaAnswer| {
                    matches!(answer, ReplicaAnswer::Done | ReplicaAnswer::Silent | ReplicaAnswer::StorageFailed)
                };
                *reached == 0 && !answers.iter().any(|(_, answer)| in_doubt(answer))
            }
            Self::ForwardLost { .. } => false,
        }
    }

    /// Whether trying again can help at all.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Invalid { .. } | Self::Context(_) | Self::TooManySiblings { .. })
    }
}

struct Answers<'a>(&'a [(NodeId, ReplicaAnswer)]);

impl fmt::Display for Answers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (node, answer)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{node} {answer}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_one_has_stored_is_in_doubt_though_another_quorum_has_none() {
        let node = |number| NodeId::new(number).expect("not 0");
        let answers = |first| vec![(node(1), first), (node(2), ReplicaAnswer::NotResponsible)];
        let failed = |first| RequestError::WriteQuorum { needed: 1, reached: 0, answers: answers(first) };
        assert!(!failed(ReplicaAnswer::Done).nothing_changed());
        assert!(!failed(ReplicaAnswer::Silent).nothing_changed());
        assert!(failed(ReplicaAnswer::Overloaded).nothing_changed());
    }
}
