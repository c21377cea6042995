//! What a read shows, judged by all the oracles that have a say in it, and by the phase the run is in.

use quorate_ring::Value;

use super::bits::Bits;
use super::truth::{Truth, WriteId};
use super::{Violation, concurrency, deleted, lost, origin, quorums};

/// What a read showed.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The values' writes.
    pub own: Bits,
    /// They, and all that their writers had seen: the ghost of the read's context.
    pub ghost: Bits,
    /// Whether a write was missed whose loss is excused.
    pub excused: bool,
}

/// Which promise a read is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Quorums overlap.
    Quorum,
    /// Everything is healed, and all replicas are asked.
    Everything,
}

/// Checks what a read showed.
///
/// # Errors
/// The first property that does not hold.
pub fn check(
    truth: &Truth,
    key: usize,
    required: &Bits,
    values: &[Value],
    promise: Promise,
) -> Result<Shown, Violation> {
    let siblings: Vec<WriteId> =
        values.iter().map(|value| origin::check(truth, key, value)).collect::<Result<_, _>>()?;
    concurrency::check(truth, key, &siblings)?;
    let mut shown = Shown::default();
    for id in siblings {
        let write = truth.write(id);
        shown.own.insert(write.index);
        shown.ghost.join(&write.ghost);
    }
    shown.ghost.join(&shown.own);
    match promise {
        Promise::Quorum => quorums::check(truth, key, required, &mut shown)?,
        Promise::Everything => lost::check(truth, key, required, &mut shown)?,
    }
    deleted::check(truth, key, required, &mut shown)?;
    Ok(shown)
}
