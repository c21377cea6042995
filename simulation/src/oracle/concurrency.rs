//! O4: of two siblings neither's writer had seen the other, and no write is there twice.

use super::bits::Bits;
use super::truth::{Truth, WriteId};
use super::{Oracle, Violation};

/// Checks the siblings of a key, as a read shows them or a replica stores them.
///
/// # Errors
/// The first that should not be there beside another.
pub fn check(truth: &Truth, key: usize, siblings: &[WriteId]) -> Result<(), Violation> {
    let (mut own, mut past) = (Bits::default(), Bits::default());
    let wrong = |what: String, ids: &[WriteId]| Err(Violation::new(Oracle::Concurrency, what).about(key, ids));
    for id in siblings {
        let write = truth.write(*id);
        if own.contains(write.index) {
            return wrong(format!("{id:?} is its own sibling"), &[*id]);
        }
        own.insert(write.index);
        past.join(&write.ghost);
    }
    if !own.meets(&past) {
        return Ok(());
    }
    let pairs = siblings.iter().flat_map(|id| siblings.iter().map(move |newer| (*id, *newer)));
    let (id, newer) = pairs.into_iter().find(|(id, newer)| truth.has_seen(*newer, *id)).expect("the two sets meet");
    wrong(format!("{id:?} is a sibling of {newer:?}, whose writer had seen it"), &[id, newer])
}
