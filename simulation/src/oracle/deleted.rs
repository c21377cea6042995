//! O9: what an acknowledged delete had seen is not shown by a read that has to see the delete.

use super::bits::Bits;
use super::reads::Shown;
use super::truth::{Kind, Truth};
use super::{Oracle, Violation};

/// Checks that a read showed nothing that a delete which it has to see had seen.
///
/// # Errors
/// The first such delete.
pub fn check(truth: &Truth, key: usize, required: &Bits, shown: &mut Shown) -> Result<(), Violation> {
    for index in required.iter() {
        let id = truth.keys[key].writes[index];
        let write = truth.write(id);
        if write.kind != Kind::Delete || !shown.own.meets(&write.ghost) {
            continue;
        }
        if !truth.is_excused(write) {
            let what = format!("{id:?} of key {key} is a delete (w = {}), and what it had seen is shown", write.w);
            return Err(Violation::new(Oracle::Deleted, what).about(key, &[id]));
        }
        shown.excused = true;
    }
    Ok(())
}
