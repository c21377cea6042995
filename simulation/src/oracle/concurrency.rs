//! O4: of two siblings neither's writer had seen the other, and no write is there twice.

use super::truth::{Truth, WriteId};
use super::{Oracle, Violation};

/// Checks the siblings of a key, as a read shows them or a replica stores them.
///
/// # Errors
/// The first that should not be there beside another.
pub fn check(truth: &Truth, key: usize, siblings: &[WriteId]) -> Result<(), Violation> {
    for (index, id) in siblings.iter().enumerate() {
        let wrong = |what: String, ids: &[WriteId]| Err(Violation::new(Oracle::Concurrency, what).about(key, ids));
        if siblings[..index].contains(id) {
            return wrong(format!("{id:?} is its own sibling"), &[*id]);
        }
        if let Some(newer) = siblings.iter().find(|newer| truth.has_seen(**newer, *id)) {
            return wrong(format!("{id:?} is a sibling of {newer:?}, whose writer had seen it"), &[*id, *newer]);
        }
    }
    Ok(())
}
