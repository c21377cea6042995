//! How little a node keeps for others, and takes of what others kept for it: a production node's bounds are far beyond what a run could
//! reach.

use quorate_node::handoff::hint::bounds::HintBounds;
use serde::{Deserialize, Serialize};

use super::InvalidPlan;

/// What is said here is smaller than in production.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HintPlan {
    /// Most hints that a shard keeps for one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_target: Option<u64>,
    /// Most hints that it keeps in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<u64>,
    /// From so many operations on that wait for its store, a node takes no hints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_from: Option<usize>,
}

impl HintPlan {
    /// Whether it says nothing.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a node may have no room for hints.
    pub const fn is_narrow(&self) -> bool {
        self.of_target.is_some() || self.all.is_some()
    }

    /// The bounds of each shard.
    pub fn bounds(&self) -> HintBounds {
        let usual = HintBounds::default();
        HintBounds {
            of_target: self.of_target.unwrap_or(usual.of_target),
            all: self.all.unwrap_or(usual.all),
            busy_from: self.busy_from.unwrap_or(usual.busy_from),
            ..usual
        }
    }

    /// Checks that nodes can keep anything, and ever take it.
    ///
    /// # Errors
    /// What is 0.
    pub(super) fn check(&self) -> Result<(), InvalidPlan> {
        let none =
            [("of-target", self.of_target), ("all", self.all), ("busy-from", self.busy_from.map(|at| at as u64))];
        match none.into_iter().find(|(_, bound)| *bound == Some(0)) {
            Some((what, _)) => Err(InvalidPlan {
                place: "cluster.hints".to_owned(),
                problem: format!("{what} is 0, expected 1 or more"),
            }),
            None => Ok(()),
        }
    }
}
