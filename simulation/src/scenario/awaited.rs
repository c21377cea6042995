//! Scenarios whose feature is not there yet: their place, and where they come from.

use super::Named;

const DETECTOR: &str = "the failure detector";

pub(super) const ALL: &[Named] = &[Named::awaits(
    "asymmetric-membership",
    "a one-way cut makes no node flap, and none is removed that lives",
    "SWIM under asymmetric partitions",
    DETECTOR,
)];
