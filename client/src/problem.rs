//! Why there is no connection to a node, in words that tell what to do. How it is found out is the transport's business.

use quorate_ring::wire::Refusal;

/// Why there is no connection to a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectProblem {
    /// The address cannot be used.
    #[error("{address:?} is no usable address: {reason}; give it as host:port")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers there.
    #[error("nothing answers there; check that the node runs and that UDP reaches it")]
    Silent,
    /// The node's certificate is of another CA.
    #[error("the node's certificate is not signed by this CA ({authority})")]
    UnknownAuthority {
        /// Where our CA's certificate came from.
        authority: String,
    },
    /// The node's certificate is of this CA, but for another name.
    #[error("the node's certificate is not for {wanted}: the node belongs to another cluster, or is another node")]
    OtherName {
        /// The name that was wanted.
        wanted: String,
    },
    /// The node's certificate is not valid now.
    #[error("the node's certificate has expired or is not valid yet; renew it, or correct the clock")]
    Expired,
    /// The node does not accept our certificate.
    #[error("the node refused this side's certificate ({reason}); it must be valid now and signed by the node's CA")]
    OwnCertificateRefused {
        /// In what way.
        reason: String,
    },
    /// Something answers, but no Quorate of this protocol.
    #[error(
        "what answers there does not speak this protocol; check the address, and run the same release on both sides"
    )]
    OtherProtocol,
    /// The node refused the stream.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// The node takes requests more slowly than this side makes them.
    #[error("{bytes} bytes already wait to be sent to it; the node or the network is too slow for this load")]
    Backlog {
        /// How much waits.
        bytes: usize,
    },
    /// There was a connection, and it was lost.
    #[error("the connection was lost: {reason}")]
    Lost {
        /// How.
        reason: String,
    },
}

impl ConnectProblem {
    /// Whether it may go away without anybody acting.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Silent | Self::Lost { .. } | Self::Backlog { .. } | Self::Refused(Refusal::Stopping))
    }
}
