//! How a stream begins: who speaks, of which cluster, in which version of the protocol.
//!
//! The layout of these messages is the same in every version of the protocol, so that two versions can tell each other apart.

use serde::{Deserialize, Serialize};

use crate::version::Incarnation;
use crate::{ClusterName, NodeId};

/// The version of the protocol that this build speaks.
pub const PROTOCOL_VERSION: u16 = 1;

/// The first message on a stream, from the side that opened it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the speaker.
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
    /// The two sides speak different versions of the protocol.
    #[error("the node speaks protocol version {node}, this side speaks {yours}; run the same release on both")]
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
