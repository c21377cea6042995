//! What can go wrong, told so that the caller knows who is at fault, whether a write may have happened, and whether trying again
//! helps.

use std::fmt;
use std::time::Duration;

use quorate_ring::version::InvalidContext;
use quorate_ring::wire::RequestError;
use quorate_ring::{InvalidKey, InvalidName, InvalidQuorum, InvalidRing, InvalidTtl, InvalidValue, NodeId};

use crate::ConnectProblem;

/// What is known of a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was changed by it, and nothing will be: it may be sent again.
    NothingChanged,
    /// A write, that may or may not have happened, or may still happen. Read before writing again.
    Unknown,
}

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Said {
    /// It was not sent.
    #[error("not reached: {0}")]
    NotSent(ConnectProblem),
    /// It was sent, and the connection was lost before an answer came.
    #[error("lost before it answered: {0}")]
    Lost(ConnectProblem),
    /// It was sent, and no answer came in time.
    #[error("did not answer in time")]
    Silent,
    /// The node answered with an error.
    #[error("{0}")]
    Refused(RequestError),
}

/// One attempt: who was asked, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The node, or the seed's address before its node was known.
    pub whom: String,
    /// What came of it.
    pub said: Said,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.whom, self.said)
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A bucket's name or a key is not valid: the caller is at fault.
    #[error(transparent)]
    InvalidKey(#[from] InvalidKey),
    /// A value is too large: the caller is at fault.
    #[error(transparent)]
    InvalidValue(#[from] InvalidValue),
    /// A time to live is nothing, or too long: the caller is at fault.
    #[error(transparent)]
    InvalidTtl(#[from] InvalidTtl),
    /// A cluster's name is not valid: the caller is at fault.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// R or W cannot be: the caller is at fault.
    #[error(transparent)]
    InvalidQuorum(#[from] InvalidQuorum),
    /// Bytes or text are no context: the caller is at fault.
    #[error(transparent)]
    InvalidContext(#[from] InvalidContext),
    /// Text is no cursor of a scan: the caller is at fault.
    #[error("{text:?} is no cursor of a scan of this bucket; pass one exactly as a scan gave it")]
    InvalidCursor {
        /// What was given, cut to a readable length.
        text: String,
    },
    /// A setting of the client is missing or wrong.
    #[error("{what}")]
    Configuration {
        /// Which, and what to do.
        what: String,
    },
    /// Certificates or keys cannot be used.
    #[cfg(feature = "transport")]
    #[error(transparent)]
    Credentials(#[from] crate::transport::CredentialsError),
    /// The cluster described a ring that cannot be: a node is at fault.
    #[error("the cluster described an impossible ring: {0}")]
    InvalidRing(#[from] InvalidRing),
    /// Nobody could be asked; nothing was sent.
    #[error("no node could be reached: {}", List(tried))]
    Unreachable {
        /// Everybody tried, and why not.
        tried: Vec<Tried>,
    },
    /// Somebody was asked, and nobody answered in time. Only reads end so; a write ends as [`Error::OutcomeUnknown`].
    #[error("no answer within {} ms: {}", after.as_millis(), List(tried))]
    Timeout {
        /// How long the caller was ready to wait.
        after: Duration,
        /// Everybody tried, and what came of it.
        tried: Vec<Tried>,
    },
    /// A node answered with an error. For a write: nothing changed.
    #[error("{node}: {error}")]
    Node {
        /// Which node.
        node: NodeId,
        /// What it said.
        error: RequestError,
    },
    /// A write was sent and may or may not have happened. Read before writing again; `update` does so by itself.
    #[error("the outcome of the write is unknown; {node}: {said}")]
    OutcomeUnknown {
        /// The node it was sent to.
        node: NodeId,
        /// What came of it.
        said: Said,
    },
    /// An update gave up, since others kept writing the same key. Its last write is stored, beside theirs.
    #[error(
        "the key still had {siblings} siblings after {attempts} attempts to merge them; others keep writing it, try later"
    )]
    Contention {
        /// How often it read, merged and wrote.
        attempts: u32,
        /// How many siblings the last write left.
        siblings: u32,
    },
    /// A node answered with something else than was asked for: the node is at fault.
    #[error("the node answered {got} where {wanted} was asked for; run the same release on both sides")]
    Unexpected {
        /// What was asked for.
        wanted: &'static str,
        /// What came.
        got: &'static str,
    },
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

impl Error {
    /// Whether trying again, later, can help. For [`Outcome::Unknown`] only after a read has shown whether the write happened.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { tried } => tried.is_empty() || tried.iter().any(|tried| tried.said.is_transient()),
            Self::Node { error, .. } => error.is_transient(),
            Self::Timeout { .. } | Self::OutcomeUnknown { .. } | Self::Contention { .. } => true,
            _ => false,
        }
    }

    /// Whether a write that failed so may have happened. A read changes nothing, whatever this says.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::OutcomeUnknown { .. } | Self::Contention { .. } | Self::Unexpected { .. } => Outcome::Unknown,
            _ => Outcome::NothingChanged,
        }
    }
}

impl Said {
    fn is_transient(&self) -> bool {
        match self {
            Self::NotSent(problem) => problem.is_transient(),
            Self::Lost(_) | Self::Silent => true,
            Self::Refused(error) => error.is_transient(),
        }
    }
}

struct List<'a>(&'a [Tried]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("there was nobody to try");
        }
        for (index, tried) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{tried}")?;
        }
        Ok(())
    }
}
