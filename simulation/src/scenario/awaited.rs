//! Scenarios whose feature is not there yet: their place, and where they come from.

use super::Named;

const MEMBERSHIP: &str = "changes of membership";

pub(super) const ALL: &[Named] = &[
    Named::awaits(
        "layout-change-under-reads",
        "a change of layout, alone and with a partition, keeps reads after writes",
        "Garage's Jepsen set test (10 of 10 runs before its fix)",
        MEMBERSHIP,
    ),
    Named::awaits(
        "writes-while-a-partition-moves",
        "writes, and the collection of deletes, while a partition moves",
        "Garage; riak_kv#1754",
        MEMBERSHIP,
    ),
    Named::awaits(
        "two-changes-on-two-sides",
        "two changes of the ring, committed on both sides of a split",
        "Garage layout manual",
        MEMBERSHIP,
    ),
    Named::awaits(
        "scan-while-a-partition-moves",
        "a scan while a partition moves misses nothing",
        "riak#305",
        MEMBERSHIP,
    ),
    Named::awaits(
        "asymmetric-membership",
        "a one-way cut makes no node flap, and none is removed that lives",
        "SWIM under asymmetric partitions",
        MEMBERSHIP,
    ),
];
