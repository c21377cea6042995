//! Members that change while all else goes on: nodes join, leave and are removed, one after the other and at once, by one operator and by two
//! on both sides of a split.
//!
//! It draws from a stream of its own: a seed without it is what it was.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use super::super::Plan;
use super::super::fault::{Fault, TimedFault, Weighed};
use super::super::span::Span;
use super::number;
use crate::catalogue::FaultId;
use crate::choices::{Choices, Stream};

/// How often members change, of a thousand seeds.
const CHANGING: u64 = 200;
/// How often a change removes a node that is dead, if none has been.
const REMOVING: u64 = 250;
/// How often a change gives a member another capacity.
const WEIGHING: u64 = 250;
/// How long the load of a seed lasts, about.
const LOAD_MILLIS: u64 = 400;

/// Adds it to a plan whose cluster, clients and faults are drawn.
pub(super) fn add(plan: &mut Plan, kinds: &BTreeSet<FaultId>, choices: &mut Choices) {
    let draw = &mut choices.stream("members");
    if kinds.contains(&FaultId::M1) && draw.chance("changing", CHANGING) {
        change(plan, draw);
    }
}

fn change(plan: &mut Plan, draw: &mut Stream) {
    let founding = plan.cluster.nodes;
    plan.cluster.members = Some(founding);
    plan.cluster.zones = draw.pick("zones", &[None, None, NonZeroU32::new(3), NonZeroU32::new(2)]);
    let waiting = number(draw.choose("waiting", 1..=3));
    plan.cluster.nodes = (founding + waiting).min(plan.cluster.partitions);
    // Who must serve without whom is another question while members change.
    (plan.cluster.core_without, plan.cluster.core_gray) = (Vec::new(), None);
    let mut members: Vec<u32> = (1..=founding).collect();
    let mut others: Vec<u32> = (founding + 1..=plan.cluster.nodes).collect();
    let mut removed = false;
    for _ in 0..draw.choose("changes", 1..=4) {
        let by = number(draw.choose("by", 1..=u64::from(plan.cluster.nodes)));
        let at = Span::from_millis(draw.choose("at", 0..=LOAD_MILLIS));
        let (mut join, mut leave, mut remove) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..draw.choose("moves", 1..=3) {
            if draw.chance("joins", 600) {
                if !others.is_empty() {
                    join.push(others.swap_remove(draw.index("who", others.len())));
                }
            } else if usize::from(plan.cluster.n) < members.len() {
                let gone = members.swap_remove(draw.index("who", members.len()));
                // One that is only cut off is not dead, and must not be removed as if it were.
                let is_cut_off = |fault: &TimedFault| matches!(fault.fault, Fault::Horizon { node } if node == gone);
                let may_be_dead = 1 < plan.cluster.n && gone != by && !plan.faults.iter().any(is_cut_off);
                if !removed && may_be_dead && draw.chance("removed", REMOVING) {
                    removed = true;
                    remove.push(gone);
                } else {
                    leave.push(gone);
                }
            }
        }
        members.extend(&join);
        others.extend(&leave);
        let mut weigh = Vec::new();
        if draw.chance("weighs", WEIGHING) {
            let node = members[draw.index("who", members.len())];
            let capacity = NonZeroU32::new(draw.pick("capacity", &[50, 100, 200])).expect("none is 0");
            weigh.push(Weighed { node, capacity });
        }
        let fault = Fault::Members { by, join, leave, remove, weigh };
        plan.faults.push(TimedFault { at, fault, lasting: Span::from_millis(1) });
    }
    keep_a_copy(plan, removed);
    plan.faults.sort_by_key(|fault| fault.at);
}

/// A change is carried out when all is received, so not while some key has no copy that can be read: one node's disk rots at most, and none where
/// that may hold the only copy.
fn keep_a_copy(plan: &mut Plan, removed: bool) {
    let rots = |fault: &TimedFault| match fault.fault {
        Fault::Rot { node, .. } | Fault::Misdirect { node, .. } => Some(node),
        _ => None,
    };
    let only = plan.faults.iter().find_map(rots).filter(|_| 2 < plan.cluster.n && !removed);
    plan.faults.retain(|fault| rots(fault).is_none_or(|node| Some(node) == only));
}
