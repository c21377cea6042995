//! The omniscient judge of a run. It knows every write, who had seen what when making it (its *ghost* history, kept beside the
//! real context), and what each store has held; so most checks are a comparison with the truth.
//!
//! Each file is one property, which its first line says; [`reads`] asks several of them about what a read shows. O8 (sessions), O12
//! (conditional operations), O15 (membership) and O16 (engines, which have a contract suite of their own) have their place when the
//! product claims them; O18 (determinism) is what the history's hash and `quorate-sim audit` are for.

pub mod availability;
pub mod bits;
pub mod bounds;
pub mod codec;
pub mod concurrency;
pub mod convergence;
pub mod deleted;
pub mod dominance;
pub mod dots;
pub mod expired;
pub mod hints;
pub mod honesty;
pub mod lost;
pub mod maximal;
pub mod origin;
pub mod quorums;
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
    /// O1: hints are kept until they are delivered.
    Hints,
    /// O2: no dot is issued twice.
    Dots,
    /// O3: no false dominance.
    Dominance,
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
    /// O9: what expired stays gone.
    Expired,
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
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Lost,
        Self::Hints,
        Self::Dots,
        Self::Dominance,
        Self::Concurrency,
        Self::Maximal,
        Self::Convergence,
        Self::Quorum,
        Self::Deleted,
        Self::Expired,
        Self::Honesty,
        Self::Origin,
        Self::Bounds,
        Self::Availability,
        Self::Codec,
    ];

    /// Its number in the list of oracles.
    pub const fn number(self) -> u32 {
        match self {
            Self::Lost | Self::Hints => 1,
            Self::Dots => 2,
            Self::Dominance => 3,
            Self::Concurrency => 4,
            Self::Maximal => 5,
            Self::Convergence => 6,
            Self::Quorum => 7,
            Self::Deleted | Self::Expired => 9,
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
            Self::Hints => "a hint was given up",
            Self::Dots => "a dot was issued twice",
            Self::Dominance => "a value is gone that nobody had overwritten",
            Self::Concurrency => "false concurrency",
            Self::Maximal => "a replica does not hold the newest of what it was sent",
            Self::Convergence => "replicas differ",
            Self::Quorum => "a read missed an acknowledged write",
            Self::Deleted => "a deleted value came back",
            Self::Expired => "an expired value was shown or kept",
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
            Self::Hints => {
                "What is kept for a node goes, or is said to be delivered, only when it is on that node's disk; and a fallback keeps what it makes for every primary that does not have it."
            }
            Self::Dots => "No dot is ever issued for two events, by any incarnation of any node.",
            Self::Dominance => "A value disappears from a replica only for a write whose writer had seen it.",
            Self::Concurrency => "Of two siblings neither's writer had seen the other, and no write is there twice.",
            Self::Maximal => "Each replica's siblings are exactly the maximal elements of what was delivered to it.",
            Self::Convergence => {
                "After healing and repair, all replicas of a key hold the same, and nothing more is sent."
            }
            Self::Quorum => {
                "With R + W > N and strict requests, a read shows every write acknowledged before it began, or a successor."
            }
            Self::Deleted => "What an acknowledged delete had seen is not shown by a read that has to see the delete.",
            Self::Expired => {
                "A value whose time has come by the clock of the node that answers is not shown, and in the end none is kept."
            }
            Self::Honesty => {
                "When a write is acknowledged, the stores of W distinct nodes have held it as durably as it asked."
            }
            Self::Origin => "Every value read was written to that key, by a write that did not definitely fail.",
            Self::Bounds => {
                "What a shard keeps is within its bounds at every step, and when all is done, nothing is left over."
            }
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
