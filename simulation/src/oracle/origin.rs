//! O11: every value read was written to that key, by a write that did not definitely fail.

use quorate_ring::Value;

use super::truth::{Fate, Kind, Truth, WriteId};
use super::{Oracle, Violation};

/// Which write a value that was read for a key is of.
///
/// # Errors
/// If it is of none that could be there.
pub fn check(truth: &Truth, key: usize, value: &Value) -> Result<WriteId, Violation> {
    let id = WriteId::of(value).filter(|id| (id.0 as usize) < truth.writes.len());
    let Some(id) = id else {
        return Err(Violation::new(Oracle::Origin, "a value that nobody wrote").about(key, &[]));
    };
    let write = truth.write(id);
    let problem = match write.fate {
        _ if write.key != key => "was written to another key",
        _ if write.kind == Kind::Delete => "is a delete and wrote no value",
        Fate::Failed => "definitely failed, as its client was told",
        _ => return Ok(id),
    };
    Err(Violation::new(Oracle::Origin, format_args!("{id:?} of key {key} {problem}")).about(key, &[id]))
}
