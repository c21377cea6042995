//! O3: a value disappears from a replica only for a write whose writer had seen it, or because its time has come.

use super::truth::{Truth, WriteId};
use super::{Oracle, Violation};

/// Checks the values that are gone from a replica.
///
/// # Errors
/// The first that should not be.
pub fn check(truth: &Truth, mut gone: impl Iterator<Item = WriteId>) -> Result<(), Violation> {
    match gone.find(|id| !truth.is_overwritten(*id) && !truth.has_expired(*id)) {
        Some(id) => {
            let key = truth.write(id).key;
            let what = format!("{id:?} of key {key} is gone from a replica, and no write had seen it");
            Err(Violation::new(Oracle::Dominance, what).about(key, &[id]))
        }
        None => Ok(()),
    }
}
