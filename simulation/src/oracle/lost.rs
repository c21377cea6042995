//! O1: after healing, a read of all replicas shows every acknowledged write or a successor of it.
//!
//! A write of unknown outcome may be absent; once a read has shown it, whoever writes with that read's context vouches for it in
//! its ghost history.

use super::bits::Bits;
use super::reads::Shown;
use super::truth::{Kind, Truth, WriteId};
use super::{Oracle, Violation};

/// What a read of a key with this R has to show when everything is healed and handed over.
pub fn required(truth: &Truth, key: usize, r: u8) -> Bits {
    let mut required = Bits::default();
    let overlapping = usize::from(truth.n - r) + 1;
    truth.keys[key].acknowledged[overlapping..].iter().for_each(|writes| required.join(writes));
    required
}

/// Checks that a read of all replicas showed what it had to.
///
/// # Errors
/// The first write that is lost.
pub fn check(truth: &Truth, key: usize, required: &Bits, shown: &mut Shown) -> Result<(), Violation> {
    missed(truth, key, required, shown).map_or(Ok(()), |id| Err(violation(truth, Oracle::Lost, id)))
}

/// The first required write that a read neither showed nor explains: by a value whose writer had seen it, by a delete, or by an
/// expiry, its own or that of a value whose writer had seen it. Those whose loss is excused are noted as such.
pub(super) fn missed(truth: &Truth, key: usize, required: &Bits, shown: &mut Shown) -> Option<WriteId> {
    let deleted = &truth.keys[key].deleted;
    let mut expired = None;
    for index in required.iter().filter(|index| !shown.ghost.contains(*index) && !deleted.contains(*index)) {
        let id = truth.keys[key].writes[index];
        let write = truth.write(id);
        if write.kind == Kind::Delete || expired.get_or_insert_with(|| truth.behind_expired(key)).contains(index) {
            continue;
        }
        if !truth.is_excused(write) {
            return Some(id);
        }
        shown.excused = true;
    }
    None
}

pub(super) fn violation(truth: &Truth, oracle: Oracle, id: WriteId) -> Violation {
    let write = truth.write(id);
    let what = format!(
        "{id:?} of key {} (w = {}, {:?}) is neither shown nor behind what is shown",
        write.key, write.w, write.durability
    );
    Violation::new(oracle, what).about(write.key, &[id])
}
