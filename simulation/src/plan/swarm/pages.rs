//! Whole partitions that are received in small pages, and a receiver that is cut off in the middle of that, over and over.
//!
//! A partition is received as a whole when nobody can name any more what is missing, some seconds after it was written. It draws from streams of
//! its own: a seed without it is what it was.

use std::collections::BTreeSet;

use super::super::Plan;
use super::super::fault::{Fault, TimedFault};
use super::super::load::{Action, Get, Step, Whom};
use super::super::span::Span;
use super::number;
use crate::catalogue::FaultId;
use crate::choices::Choices;

/// How often a receiver is cut off, of a thousand seeds with small pages.
const CUT_OFF: u64 = 120;
/// When its disks are replaced.
const EMPTIED_MILLIS: u64 = 9_000;
const DOWN_MILLIS: u64 = 20;
const FLAPS_MILLIS: u64 = 1_500;

/// The size of pages; what is in many partitions comes in one page each.
pub(super) fn size(choices: &mut Choices) -> Option<u32> {
    choices.stream("pages").pick("transfer page", &[None, None, None, Some(1), Some(2)])
}

/// Adds it to a plan whose cluster, clients and faults are drawn.
pub(super) fn add(plan: &mut Plan, kinds: &BTreeSet<FaultId>, choices: &mut Choices) {
    let draw = &mut choices.stream("cut off");
    let has_kinds = [FaultId::P3, FaultId::N11].iter().all(|kind| kinds.contains(kind));
    let loses = plan.faults.iter().any(|fault| !fault.fault.losing().is_empty());
    if plan.cluster.transfer_page.is_none()
        || plan.cluster.n < 3
        || !has_kinds
        || loses
        || !draw.chance("cut off", CUT_OFF)
    {
        return;
    }
    let nodes = plan.cluster.nodes;
    let node = number(draw.choose("node", 1..=u64::from(nodes)));
    let mut late = |at: u64, lasting: u64, fault: Fault| {
        let (at, lasting) = (Span::from_millis(at), Span::from_millis(lasting));
        plan.faults.push(TimedFault { at, lasting, fault });
    };
    late(EMPTIED_MILLIS, DOWN_MILLIS, Fault::ReplaceDisks { node });
    let each = Span::from_millis(draw.choose("each", 60..=120));
    for other in (1..=nodes).filter(|other| *other != node) {
        late(EMPTIED_MILLIS + DOWN_MILLIS, FLAPS_MILLIS, Fault::Flap { link: [node, other], each });
    }
    let after = Span::from_millis(EMPTIED_MILLIS + DOWN_MILLIS + FLAPS_MILLIS);
    let within = Span::from_millis(1_000);
    let action = Action::Get(Get::default());
    let step = Step { after, at: Span::default(), within, ask: Whom::Best, sloppy: false, action };
    plan.clients.first_mut().expect("there is one").steps.push(step);
}
