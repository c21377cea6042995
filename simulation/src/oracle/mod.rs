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
pub mod maximal;
pub mod reads;
pub mod truth;

use std::fmt;

use self::truth::WriteId;

/// A property that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{oracle}: {what}")]
pub struct Violation {
    /// Which.
    pub oracle: Oracle,
    /// What was seen, and what should have been.
    pub what: String,
    /// The key that it is about, by its number, if it is about one.
    pub key: Option<usize>,
    /// The writes that it is about.
    pub writes: Vec<WriteId>,
}

impl Violation {
    /// A violation.
    pub fn new(oracle: Oracle, what: impl fmt::Display) -> Self {
        Self { oracle, what: what.to_string(), key: None, writes: Vec::new() }
    }

    /// Says which key it is about, and which writes to it.
    pub fn about(self, key: usize, writes: &[WriteId]) -> Self {
        Self { key: Some(key), writes: writes.to_vec(), ..self }
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
    /// O5: replicas hold what they should.
    Maximal,
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

impl Oracle {
    /// Its number in the list of oracles.
    pub const fn number(self) -> u32 {
        match self {
            Self::Lost => 1,
            Self::Dots => 2,
            Self::Concurrency => 4,
            Self::Maximal => 5,
            Self::Convergence => 6,
            Self::Quorum => 7,
            Self::Deleted => 9,
            Self::Honesty => 10,
            Self::Origin => 11,
            Self::Bounds => 13,
            Self::Availability => 14,
            Self::Codec => 17,
        }
    }

    /// What has happened when it does not hold.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "an acknowledged write is lost",
            Self::Dots => "a dot was issued twice",
            Self::Concurrency => "false concurrency",
            Self::Maximal => "a replica does not hold the newest of what it was sent",
            Self::Convergence => "replicas differ",
            Self::Quorum => "a read missed an acknowledged write",
            Self::Deleted => "a deleted value came back",
            Self::Honesty => "a write was acknowledged before enough stores held it",
            Self::Origin => "a value came from nowhere",
            Self::Bounds => "something is left over or too large",
            Self::Availability => "a healthy cluster did not answer",
            Self::Codec => "a message changed on the wire",
        }
    }

    /// What it promises, in a sentence.
    pub const fn promise(self) -> &'static str {
        match self {
            Self::Lost => "After healing, a read of all replicas shows every acknowledged write or a successor of it.",
            Self::Dots => "No dot is ever issued for two events, by any incarnation of any node.",
            Self::Concurrency => "Of two siblings neither's writer had seen the other, and no write is there twice.",
            Self::Maximal => "Each replica's siblings are exactly the maximal elements of what was delivered to it.",
            Self::Convergence => {
                "After healing and repair, all replicas of a key hold the same, and nothing more is sent."
            }
            Self::Quorum => {
                "With R + W > N, a read shows every write acknowledged before it began, or a successor of it."
            }
            Self::Deleted => "What an acknowledged delete had seen is not shown by a read that has to see the delete.",
            Self::Honesty => {
                "When a write is acknowledged, the stores of W distinct nodes have held it as durably as it asked."
            }
            Self::Origin => "Every value read was written to that key, by a write that did not definitely fail.",
            Self::Bounds => "When all is done, no request, operation or timer is left over.",
            Self::Availability => {
                "What has a quorum and nothing in its way is served, and every request ends by its deadline."
            }
            Self::Codec => "What is decoded is what was encoded, for every message.",
        }
    }
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "O{}, {}", self.number(), self.name())
    }
}
