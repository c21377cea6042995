//! O14: what has a quorum and nothing in its way is served, and every request ends by its deadline.

use std::fmt::Display;

use quorate_client::Error;
use quorate_node::Time;
use quorate_ring::NodeId;
use quorate_ring::wire::RequestError;

use super::{Oracle, Violation};
use crate::client::Task;

/// Checks a failure of a request that nothing was in the way of.
///
/// # Errors
/// Unless it is an answer: that a key has too many siblings.
pub(crate) fn check_failure(task: &Task, error: &Error) -> Result<(), Violation> {
    match error {
        Error::Node { error: RequestError::TooManySiblings { .. }, .. } => Ok(()),
        _ => Err(violation(task, format_args!("{task} failed: {error}"))),
    }
}

/// Checks when a request ended.
///
/// # Errors
/// If it was after its deadline.
pub(crate) fn check_deadline(task: &Task, deadline: Time, now: Time) -> Result<(), Violation> {
    if now <= deadline {
        return Ok(());
    }
    Err(violation(task, format_args!("{task} was over {:?} after its deadline", now.since(deadline))))
}

fn violation(task: &Task, what: impl Display) -> Violation {
    let violation = Violation::new(Oracle::Availability, what);
    match task.key() {
        Some(key) => violation.about(key, &[]),
        None => violation,
    }
}

/// Checks a node that takes its store for one that lost something, and so counts for no reads any more.
///
/// # Errors
/// If it lost nothing.
pub fn check_loss(node: NodeId, lost_something: bool) -> Result<(), Violation> {
    if lost_something {
        return Ok(());
    }
    Err(Violation::new(Oracle::Availability, format_args!("{node} takes its store for lost, and it lost nothing")))
}
