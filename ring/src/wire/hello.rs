//! How a stream begins: who speaks, of which cluster, in which version of the protocol.
//!
//! The layout of these messages is the same in every version of the protocol, so that two versions can tell each other apart.

use serde::{Deserialize, Serialize};

use crate::version::Incarnation;
use crate::{ClusterName, NodeId};

/// The newest version of the protocol that this build speaks.
///
/// | version | brought |
/// |---|---|
/// | 1 | all but what follows |
/// | 2 | [`LayoutMessage::Summary`](super::LayoutMessage::Summary) and [`LayoutMessage::Delta`](super::LayoutMessage::Delta) |
/// | 3 | [`NodeStatus::usage`](super::NodeStatus::usage) |
pub const PROTOCOL_VERSION: u16 = 3;
/// The oldest. Two sides speak the lower of their newest versions, if neither's oldest is above it: so a cluster goes from one release to the next
/// node by node.
pub const PROTOCOL_VERSION_MIN: u16 = 1;

/// A version of the protocol that this build speaks: [`PROTOCOL_VERSION_MIN`] to [`PROTOCOL_VERSION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Protocol(u16);

impl Protocol {
    /// The newest.
    pub const NEWEST: Self = Self(PROTOCOL_VERSION);

    /// This version, if this build speaks it.
    pub const fn new(version: u16) -> Option<Self> {
        if PROTOCOL_VERSION_MIN <= version && version <= PROTOCOL_VERSION { Some(Self(version)) } else { None }
    }

    /// What is spoken with a side whose newest version is this; nothing if that is too old.
    #[must_use]
    pub fn agree(self, theirs: u16) -> Option<Self> {
        Self::new(self.0.min(theirs))
    }

    /// What to say hello with instead, after a refusal: the first releases took nothing but their own version.
    #[must_use]
    pub fn instead(self, refusal: &Refusal) -> Option<Self> {
        match refusal {
            Refusal::Protocol { node, .. } if *node < self.0 => Self::new(*node),
            _ => None,
        }
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Whether a layout is told by what a side lacks, and not by whole copies.
    pub const fn has_layout_deltas(self) -> bool {
        2 <= self.0
    }

    /// Whether a node's status tells what it has used.
    pub const fn has_usage(self) -> bool {
        3 <= self.0
    }
}

const _: () = assert!(PROTOCOL_VERSION_MIN <= PROTOCOL_VERSION, "it speaks some version");

/// The first message on a stream, from the side that opened it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The newest version that the speaker would speak on this stream, [`PROTOCOL_VERSION`] or one that the other side asked for.
    pub protocol: u16,
    /// The cluster the speaker belongs to, or wants to reach.
    pub cluster: ClusterName,
    /// What the speaker is, and what the stream is for.
    pub role: Role,
}

/// What the side that opened a stream is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// An application: the stream carries requests and replies.
    #[serde(rename = "c")]
    Client,
    /// A node: the stream carries [`super::PeerMessage`]s both ways.
    #[serde(rename = "p")]
    Peer {
        /// Which node. Its certificate must say the same.
        node: NodeId,
        /// Its incarnation.
        incarnation: Incarnation,
        /// The fingerprint of the ring that its cluster began with ([`crate::Ring::fingerprint`]), whatever ring it has come to; 0 from one that
        /// does not know it yet, and is told.
        ring: u64,
        /// The fingerprint of the key of contexts ([`crate::version::ContextKey::fingerprint`]): what one node gave to a client, every
        /// other must take.
        secret: u64,
    },
}

/// The answer to a [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Welcome {
    /// The stream is open.
    #[serde(rename = "a")]
    Accepted {
        /// [`PROTOCOL_VERSION`] of the answering node.
        protocol: u16,
        /// Which node answers.
        node: NodeId,
        /// Its incarnation.
        incarnation: Incarnation,
    },
    /// The stream will be closed, and why.
    #[serde(rename = "r")]
    Refused(Refusal),
}

/// Why a stream was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// One side speaks no version of the protocol that the other still speaks.
    #[error(
        "the node speaks protocol version {node} and does not take {yours}, the newest that this side speaks; bring the older of the two to a \
         release that speaks both, and then to the newer"
    )]
    #[serde(rename = "v")]
    Protocol {
        /// What the refusing node speaks.
        node: u16,
        /// What the refused side said.
        yours: u16,
    },
    /// The two sides belong to different clusters.
    #[error("the node belongs to cluster {node:?}, not to {yours:?}; check the cluster's name and the address")]
    #[serde(rename = "c")]
    Cluster {
        /// The refusing node's cluster.
        node: ClusterName,
        /// What the refused side said.
        yours: ClusterName,
    },
    /// A peer's cluster began with another ring: other members, partitions or N.
    #[error(
        "the node's cluster began with another ring (fingerprint {node:016x}, not {yours:016x}); members, partitions and n must be the \
         same in every configuration that a cluster begins with"
    )]
    #[serde(rename = "g")]
    Ring {
        /// The refusing node's fingerprint.
        node: u64,
        /// What the refused side said.
        yours: u64,
    },
    /// A peer was given another secret.
    #[error("the node was given another secret; `secret` must be the same in every node's configuration")]
    #[serde(rename = "k")]
    Secret,
    /// The certificate belongs to somebody else than the [`Hello`] names.
    #[error("the certificate does not belong to {claimed}")]
    #[serde(rename = "i")]
    Identity {
        /// Who the refused side claimed to be.
        claimed: String,
    },
    /// The node is on its way down.
    #[error("the node is stopping")]
    #[serde(rename = "s")]
    Stopping,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sides_speak_the_lower_of_their_versions() {
        let versions =
            [PROTOCOL_VERSION_MIN, PROTOCOL_VERSION].map(|version| Protocol::new(version).expect("it is spoken"));
        let [oldest, newest] = versions;
        assert_eq!(newest.agree(PROTOCOL_VERSION + 1), Some(newest));
        assert_eq!(newest.agree(PROTOCOL_VERSION_MIN), Some(oldest));
        assert_eq!(oldest.agree(PROTOCOL_VERSION), Some(oldest));
        assert_eq!(newest.agree(PROTOCOL_VERSION_MIN - 1), None);
    }

    #[test]
    fn one_that_takes_only_an_older_version_is_greeted_in_that() {
        let refused = |node| Protocol::NEWEST.instead(&Refusal::Protocol { node, yours: PROTOCOL_VERSION });
        assert_eq!(refused(PROTOCOL_VERSION_MIN), Protocol::new(PROTOCOL_VERSION_MIN));
        assert_eq!(refused(PROTOCOL_VERSION_MIN - 1), None);
        assert_eq!(refused(PROTOCOL_VERSION + 1), None, "who refused what it should speak is not asked again");
    }
}
