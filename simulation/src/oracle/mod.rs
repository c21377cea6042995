//! The omniscient judge of a run. It knows every write, who had seen what when making it (its *ghost* history, kept beside the
//! real context), and what each store has held; so most checks are a comparison with the truth.
//!
//! | check | where | property |
//! |---|---|---|
//! | O1 lost | [`reads`] | after healing, a read of all replicas shows every acknowledged write or a successor |
//! | O2 dots | [`dots`] | no dot is issued for two events |
//! | O3 dominance | [`reads`] | a value disappears only for a write whose ghost history contains it |
//! | O4 concurrency | [`reads`] | of two siblings neither's ghost history contains the other, and no write is there twice |
//! | O6 convergence | [`crate::engine`] | after healing and repair, all replicas of a key hold the same values |
//! | O7 quorums | [`reads`] | with R + W > N a read shows every write acknowledged before it began, or a successor |
//! | O9 deletes | [`reads`] | what an acknowledged delete had seen is not shown by a read that has to see the delete |
//! | O10 honesty | [`dots`] | at an acknowledgement, W distinct nodes' stores have held the write as durably as asked |
//! | O11 origin | [`reads`] | a value read was written to that key, by a write that did not definitely fail |
//! | O14 availability | [`crate::engine`] | once everything is healed, requests finish within their time |
//! | O17 codec | `crate::network` | what is decoded is what was encoded, for every message |
//! | O18 determinism | the history's hash | a seed is one history |

pub mod bits;
pub mod dots;
pub mod reads;
pub mod truth;

use std::fmt;

/// A property that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{oracle}: {what}")]
pub struct Violation {
    /// Which.
    pub oracle: Oracle,
    /// What was seen, and what should have been.
    pub what: String,
}

impl Violation {
    /// A violation.
    pub fn new(oracle: Oracle, what: impl fmt::Display) -> Self {
        Self { oracle, what: what.to_string() }
    }
}

/// A property that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oracle {
    /// O1: no acknowledged write is lost.
    Lost,
    /// O2: no dot is issued twice.
    Dots,
    /// O4: no false concurrency.
    Concurrency,
    /// O6: replicas converge.
    Convergence,
    /// O7: quorums overlap.
    Quorum,
    /// O9: what was deleted stays deleted.
    Deleted,
    /// O10: acknowledgements are honest.
    Honesty,
    /// O11: values come from writes.
    Origin,
    /// O13: resources are bounded.
    Bounds,
    /// O14: a healthy cluster answers.
    Availability,
    /// O17: the codec loses nothing.
    Codec,
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, name) = match self {
            Self::Lost => (1, "an acknowledged write is lost"),
            Self::Dots => (2, "a dot was issued twice"),
            Self::Concurrency => (4, "false concurrency"),
            Self::Convergence => (6, "replicas differ"),
            Self::Quorum => (7, "a read missed an acknowledged write"),
            Self::Deleted => (9, "a deleted value came back"),
            Self::Honesty => (10, "a write was acknowledged before enough stores held it"),
            Self::Origin => (11, "a value came from nowhere"),
            Self::Bounds => (13, "something is left over or too large"),
            Self::Availability => (14, "a healthy cluster did not answer"),
            Self::Codec => (17, "a message changed on the wire"),
        };
        write!(f, "O{number}, {name}")
    }
}
