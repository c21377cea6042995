//! O9, for what expires: a value whose time has come by the clock of the node that answers is not shown or stored anew, every replica knows the same
//! moment, and when that has passed on all clocks nothing is kept.
//!
//! What a shard takes its wall clock to show is reckoned here apart from the core, from the readings that it was told.

use quorate_ring::version::Container;
use quorate_ring::wire::{RequestError, Response};
use quorate_ring::{ObjectKey, StoredValue, Value, WallTime};

use super::convergence::Held;
use super::truth::{Truth, WriteId};
use super::{Oracle, Violation};

/// Checks when the values of a container expire, at a shard whose clock shows this: the moment of a value never changes, and that of
/// one that the shard has just made is its ttl from now.
///
/// # Errors
/// The first that expires at another time.
pub fn check_moments(truth: &mut Truth, wall: WallTime, container: &Container<StoredValue>) -> Result<(), Violation> {
    if !truth.expires {
        return Ok(());
    }
    for (_, stored) in container.values() {
        let Some(id) = WriteId::of(&stored.value).filter(|id| (id.0 as usize) < truth.writes.len()) else { continue };
        let write = &mut truth.writes[id.0 as usize];
        let known = write.expires_at.is_some();
        let fits = match (write.expires_at, write.ttl, stored.expires_at) {
            (Some(known), _, moment) => moment == Some(known),
            (None, Some(ttl), Some(moment)) => moment == wall + ttl,
            (None, ttl, moment) => ttl.is_none() && moment.is_none(),
        };
        if !fits {
            let what = format!(
                "{id:?} with a ttl of {:?}, which was to expire at {:?}, expires at {:?}; the clock shows {wall:?}",
                write.ttl, write.expires_at, stored.expires_at
            );
            return Err(Violation::new(Oracle::Expired, what).about(write.key, &[id]));
        }
        if !known {
            write.expires_at = stored.expires_at;
        }
    }
    Ok(())
}

/// Checks an answer of a shard whose clock shows this. Batches are left out: their items were answered while others were awaited.
///
/// # Errors
/// The first value that has expired.
pub fn check_answer(truth: &Truth, wall: WallTime, answer: &Result<Response, RequestError>) -> Result<(), Violation> {
    match answer {
        _ if !truth.expires => Ok(()),
        Ok(Response::Found { values, .. }) => check_shown(truth, wall, values),
        Ok(Response::Page { items, .. }) => items.iter().try_for_each(|item| check_shown(truth, wall, &item.values)),
        _ => Ok(()),
    }
}

fn check_shown(truth: &Truth, wall: WallTime, values: &[Value]) -> Result<(), Violation> {
    let expired = |id: &WriteId| truth.expires_at(*id).is_some_and(|moment| moment <= wall);
    match values.iter().filter_map(WriteId::of).find(expired) {
        Some(id) => {
            let moment = truth.expires_at(id);
            let what = format!("{id:?}, which expires at {moment:?}, is shown by a node whose clock shows {wall:?}");
            Err(Violation::new(Oracle::Expired, what).about(truth.write(id).key, &[id]))
        }
        None => Ok(()),
    }
}

/// Checks what a shard whose clock shows this has stored.
///
/// # Errors
/// The first value that has expired, and should have been left out.
pub fn check_stored(wall: WallTime, container: &Container<StoredValue>) -> Result<(), Violation> {
    match container.values().find(|(_, stored)| stored.is_expired(wall)) {
        Some((dot, stored)) => {
            let what = format!("{dot:?}, {stored:?}, is stored by a node whose clock shows {wall:?}");
            Err(Violation::new(Oracle::Expired, what))
        }
        None => Ok(()),
    }
}

/// Checks what a replica holds when the time of every value has come on all clocks.
///
/// # Errors
/// The first value that should be gone.
pub fn check_kept(key: &ObjectKey, (node, held): &Held) -> Result<(), Violation> {
    match held.iter().find(|(_, stored)| stored.expires_at.is_some()) {
        Some((_, stored)) => {
            let what = format!("{node}, {key:?}: {:?} is kept: {stored:?}", WriteId::of(&stored.value));
            Err(Violation::new(Oracle::Expired, what))
        }
        None => Ok(()),
    }
}
