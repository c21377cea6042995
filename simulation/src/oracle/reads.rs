//! O1, O3, O4, O7 and O11: what a read shows is what it must. Every acknowledged write that the read has to see is among its
//! values or in the ghost history of one of them, or of a delete; no value is in the ghost history of another, or of a delete that
//! the read has to see (O9); and each was written.

use quorate_ring::Value;

use super::bits::Bits;
use super::truth::{Fate, Kind, Truth, WriteId};
use super::{Oracle, Violation};

/// What a read showed, checked.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The values' writes, and all that those had seen: the ghost of the read's context.
    pub ghost: Bits,
    /// Whether a write was missed whose loss is excused.
    pub excused: bool,
}

impl Truth {
    /// What a read of a key with this R, that begins now, has to show.
    pub fn required(&self, key: usize, r: u8) -> Bits {
        let mut required = Bits::default();
        let overlapping = usize::from(self.n - r) + 1;
        self.keys[key].acknowledged[overlapping..].iter().for_each(|writes| required.join(writes));
        required
    }

    /// Checks what a read showed.
    ///
    /// # Errors
    /// The first property that does not hold; a missed write counts as `missed`.
    pub fn check_read(
        &self,
        key: usize,
        required: &Bits,
        values: &[Value],
        missed: Oracle,
    ) -> Result<Shown, Violation> {
        let mut own = Bits::default();
        let mut past = Bits::default();
        for value in values {
            let id = self.origin(key, value)?;
            let write = self.write(id);
            if own.contains(write.index) {
                return Err(
                    Violation::new(Oracle::Concurrency, format_args!("{id:?} is its own sibling")).about(key, &[id])
                );
            }
            own.insert(write.index);
            past.join(&write.ghost);
        }
        if let Some(index) = own.iter().find(|index| past.contains(*index)) {
            let id = self.keys[key].writes[index];
            return Err(Violation::new(Oracle::Concurrency, format_args!("{id:?} is a sibling of its successor"))
                .about(key, &[id]));
        }
        let mut shown = Shown { ghost: past, excused: false };
        shown.ghost.join(&own);
        self.check_required(key, required, &own, &mut shown, missed)?;
        Ok(shown)
    }

    fn check_required(
        &self,
        key: usize,
        required: &Bits,
        own: &Bits,
        shown: &mut Shown,
        missed: Oracle,
    ) -> Result<(), Violation> {
        let mut explained = shown.ghost.clone();
        explained.join(&self.keys[key].deleted);
        for index in required.iter() {
            let id = self.keys[key].writes[index];
            let write = self.write(id);
            let (oracle, wrong) = match write.kind {
                Kind::Put => (missed, !explained.contains(index)),
                Kind::Delete => (Oracle::Deleted, own.meets(&write.ghost)),
            };
            if wrong && !self.is_excused(write) {
                let wrong = match write.kind {
                    Kind::Put => "neither shown nor behind what is shown",
                    Kind::Delete => "a delete, and what it had seen is shown",
                };
                let what = format!("{id:?} of key {key} (w = {}, {:?}) is {wrong}", write.w, write.durability);
                return Err(Violation::new(oracle, what).about(key, &[id]));
            }
            shown.excused |= wrong;
        }
        Ok(())
    }

    fn origin(&self, key: usize, value: &Value) -> Result<WriteId, Violation> {
        let id = WriteId::of(value).filter(|id| (id.0 as usize) < self.writes.len());
        let Some(id) = id else {
            return Err(Violation::new(Oracle::Origin, "a value that nobody wrote").about(key, &[]));
        };
        let write = self.write(id);
        let problem = match write.fate {
            _ if write.key != key => "was written to another key",
            _ if write.kind == Kind::Delete => "is a delete and wrote no value",
            Fate::Failed => "definitely failed, as its client was told",
            _ => return Ok(id),
        };
        Err(Violation::new(Oracle::Origin, format_args!("{id:?} of key {key} {problem}")).about(key, &[id]))
    }
}
