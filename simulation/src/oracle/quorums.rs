//! O7: with R + W > N, a strict read shows every strict write acknowledged before it began, or a successor of it.
//!
//! Where others stand in for primaries, quorums need not overlap; what was so acknowledged is for O1, after healing.

use super::bits::Bits;
use super::lost;
use super::reads::Shown;
use super::truth::Truth;
use super::{Oracle, Violation};

/// What a strict read of a key with this R, that begins now, has to show.
pub fn required(truth: &Truth, key: usize, r: u8) -> Bits {
    let mut required = Bits::default();
    let overlapping = usize::from(truth.n - r) + 1;
    truth.keys[key].by_primaries[overlapping..].iter().for_each(|writes| required.join(writes));
    required
}

/// Checks that a read showed what it had to.
///
/// # Errors
/// The first write that it missed.
pub fn check(truth: &Truth, key: usize, required: &Bits, shown: &mut Shown) -> Result<(), Violation> {
    lost::missed(truth, key, required, shown).map_or(Ok(()), |id| Err(lost::violation(truth, Oracle::Quorum, id)))
}
