//! Loads that come in steps or change while they run, as applications bring them: one file for each.

pub(super) mod scale;
pub(super) mod soak;
pub(super) mod spike;
pub(super) mod stress;

mod recovery;
