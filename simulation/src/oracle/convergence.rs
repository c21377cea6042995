//! O6: after healing and repair, all replicas of a key hold the same, and nothing more is sent.

use quorate_ring::version::Dot;
use quorate_ring::{NodeId, ObjectKey, StoredValue};

use super::{Oracle, Violation};

/// What a replica holds of a key.
pub type Held = (NodeId, Vec<(Dot, StoredValue)>);

/// Checks what the replicas of a key hold.
///
/// # Errors
/// Two that differ.
pub fn check(key: &ObjectKey, replicas: &[Held]) -> Result<(), Violation> {
    match replicas.windows(2).find(|pair| pair[0].1 != pair[1].1) {
        Some([(one, held), (other, others)]) => {
            let what = format!("{key:?}: {one} holds {held:?}, and {other} {others:?}");
            Err(Violation::new(Oracle::Convergence, what))
        }
        _ => Ok(()),
    }
}

/// How many events a plan's run may have: three times the most that one was seen to have, whose replicas took half an hour to converge.
pub const EVENTS_MAX: u64 = 100_000_000;

/// Checks how many events there have been, so that a storm is found and not waited for.
///
/// # Errors
/// If it is more than [`EVENTS_MAX`].
pub fn check_ends(events: u64) -> Result<(), Violation> {
    if events <= EVENTS_MAX {
        return Ok(());
    }
    Err(Violation::new(Oracle::Convergence, format_args!("after {EVENTS_MAX} events it still goes on")))
}

/// Checks how much a node still keeps for others when all of them have long been there.
///
/// # Errors
/// If there is any.
pub fn check_handed_over(node: NodeId, kept: usize) -> Result<(), Violation> {
    match kept {
        0 => Ok(()),
        _ => Err(Violation::new(Oracle::Convergence, format_args!("{node} still keeps {kept} hints for others"))),
    }
}

/// Checks how many messages were sent while there was nothing to do.
///
/// # Errors
/// If there were any.
pub fn check_quiet(messages: u64) -> Result<(), Violation> {
    match messages {
        0 => Ok(()),
        _ => Err(Violation::new(Oracle::Convergence, format_args!("{messages} messages were sent with nothing to do"))),
    }
}
