//! A rolling upgrade while members change: nodes run two versions of the software side by side, and go from one to the other and back when they
//! start again. Where members never change all versions say the same, so only those plans are drawn into it.
//!
//! It draws from a stream of its own: a seed without it is what it was.

use std::collections::BTreeSet;

use quorate_ring::wire::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};

use super::super::Plan;
use super::super::fault::{Fault, TimedFault};
use super::super::span::Span;
use super::number;
use crate::catalogue::FaultId;
use crate::choices::{Choices, Stream};

/// How often nodes run two versions, of a thousand seeds in which members change.
const MIXED: u64 = 500;
/// How long the load of a seed lasts, about.
const LOAD_MILLIS: u64 = 400;

/// Adds it to a plan in which members change, or do not.
pub(super) fn add(plan: &mut Plan, kinds: &BTreeSet<FaultId>, choices: &mut Choices) {
    let draw = &mut choices.stream("versions");
    if kinds.contains(&FaultId::V1) && plan.cluster.members.is_some() && draw.chance("mixed", MIXED) {
        mix(plan, draw);
    }
}

fn mix(plan: &mut Plan, draw: &mut Stream) {
    let any = |draw: &mut Stream| draw.pick("version", &[PROTOCOL_VERSION_MIN, PROTOCOL_VERSION]);
    plan.cluster.protocols = (0..plan.cluster.nodes).map(|_| any(draw)).collect();
    for _ in 0..draw.choose("upgrades", 1..=4) {
        let node = number(draw.choose("node", 1..=u64::from(plan.cluster.nodes)));
        let at = Span::from_millis(draw.choose("at", 0..=LOAD_MILLIS));
        let lasting = Span::from_millis(draw.choose("down", 1..=50));
        let fault = Fault::Upgrade { node, protocol: any(draw) };
        plan.faults.push(TimedFault { at, fault, lasting });
    }
    plan.faults.sort_by_key(|fault| fault.at);
}
