//! Handing a write to a primary of its key, at a node that is none.

use quorate_ring::NodeId;

use super::ReplyTo;
use crate::Time;

/// A write that a primary coordinates for this node.
///
/// ```text
/// Waiting ──the primary answers──▶ gone (pass the answer on)
///    └──its connection breaks, or deadline──▶ gone (outcome unknown)
/// ```
///
/// It is never handed to a second primary: the first may have done it.
#[derive(Debug)]
pub struct Forward {
    /// Who gets the answer.
    pub reply_to: ReplyTo,
    /// Since when it is handed over.
    pub begun: Time,
    /// When it ends.
    pub deadline: Time,
    /// Who coordinates.
    pub primary: NodeId,
}
