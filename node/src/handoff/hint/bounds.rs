//! How many hints a shard keeps, and when it takes none.

use crate::limits::{
    HINT_BYTES_MAX, HINT_TARGET_BYTES_MAX, HINT_TARGET_MAX, HINTS_MAX, REPLICA_OPERATIONS_MAX, TAKING_OPERATIONS_MAX,
};

/// The bounds of one shard's hints. The defaults are right for a machine of today; smaller ones are for tests, which could never fill
/// a shard otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HintBounds {
    /// Most hints for one node. One more is refused, and the next node of the preference list stands in.
    pub of_target: u64,
    /// Most bytes of them.
    pub of_target_bytes: u64,
    /// Most hints for all nodes together; at least as many as for one.
    pub all: u64,
    /// Most bytes of them.
    pub all_bytes: u64,
    /// From so many operations on that wait for its store, a node takes none of what others kept for it; at least 1.
    pub busy_from: usize,
}

impl Default for HintBounds {
    fn default() -> Self {
        Self {
            of_target: HINT_TARGET_MAX,
            of_target_bytes: HINT_TARGET_BYTES_MAX,
            all: HINTS_MAX,
            all_bytes: HINT_BYTES_MAX,
            busy_from: TAKING_OPERATIONS_MAX,
        }
    }
}

const _: () =
    assert!(1 <= TAKING_OPERATIONS_MAX && TAKING_OPERATIONS_MAX <= REPLICA_OPERATIONS_MAX, "an idle node takes");
