//! Scenarios whose feature is not there yet: their place, and where they come from.

use super::Named;

const HINTS: &str = "hints and fallbacks";
const MEMBERSHIP: &str = "changes of membership";

pub(super) const ALL: &[Named] = &[
    Named::awaits(
        "late-handoff-of-a-fallback",
        "a fallback hands off late what a primary that lost its clock has made anew",
        "riak_kv#1643 (kv679_dataloss_fb2)",
        HINTS,
    ),
    Named::awaits(
        "doomstone",
        "delete, reap, re-create, and then a late hint from a fallback",
        "riak_kv#847 (kv679_tombstone)",
        HINTS,
    ),
    Named::awaits(
        "hint-older-than-its-delete",
        "a hint that is older than the collection of its delete",
        "scylladb#23712",
        HINTS,
    ),
    Named::awaits(
        "hint-storm",
        "all hints at once at a node that returns and is slow",
        "scylladb#4191, scylladb#4712",
        HINTS,
    ),
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
