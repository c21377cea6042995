//! O3: a value disappears from a replica only for a write whose writer had seen it.

use super::truth::{Truth, WriteId};
use super::{Oracle, Violation};

/// Checks what a replica stores of a key after it stored something else.
///
/// # Errors
/// The first value that is gone and should not be.
pub fn check(
    truth: &Truth,
    before: impl Iterator<Item = WriteId>,
    kept: impl Fn(WriteId) -> bool,
) -> Result<(), Violation> {
    let mut gone = before.filter(|id| !kept(*id));
    match gone.find(|id| !truth.is_overwritten(*id)) {
        Some(id) => {
            let key = truth.write(id).key;
            let what = format!("{id:?} of key {key} is gone from a replica, and no write had seen it");
            Err(Violation::new(Oracle::Dominance, what).about(key, &[id]))
        }
        None => Ok(()),
    }
}
