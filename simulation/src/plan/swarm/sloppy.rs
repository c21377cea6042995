//! What makes others stand in for primaries, and hard for them: a key whose primaries are all away from some clients, and nodes that keep
//! little for others or take little of it.
//!
//! It draws from streams of its own: a seed's cluster, load and other faults are what they were without it.

use std::collections::BTreeSet;

use super::super::Plan;
use super::super::fault::{Fault, TimedFault};
use super::super::hints::HintPlan;
use super::super::load::{Action, Step, Whom};
use super::super::span::Span;
use super::number;
use crate::catalogue::FaultId;
use crate::choices::{Choices, Stream};
use crate::engine::owners;

/// How often the primaries of a key are away together, of a thousand seeds that have other nodes.
const ABANDONED: u64 = 150;
/// How often nodes keep few hints, and how often they take none while something waits for their stores.
const NARROW: u64 = 200;

/// Adds it to a plan whose cluster, clients and faults are drawn.
pub(super) fn add(plan: &mut Plan, kinds: &BTreeSet<FaultId>, choices: &mut Choices) {
    plan.cluster.hints = hints(&mut choices.stream("hint plan"));
    let draw = &mut choices.stream("abandoned key");
    let others = u32::from(plan.cluster.n) < plan.cluster.nodes;
    let wanted = [FaultId::N7, FaultId::N10, FaultId::P1].iter().all(|id| kinds.contains(id));
    if others && wanted && draw.chance("abandoned", ABANDONED) {
        abandon(plan, draw);
    }
}

fn hints(draw: &mut Stream) -> HintPlan {
    let mut narrow = |label, of: &[u64]| draw.chance("narrow", NARROW).then(|| draw.pick(label, of));
    HintPlan {
        of_target: narrow("of target", &[1, 2, 4]),
        all: narrow("all", &[1, 3, 8]),
        busy_from: narrow("busy from", &[1, 2, 4]).map(|count| number(count) as usize),
    }
}

/// The primaries of a key are away from the other nodes, and from some clients, which go on all the same.
fn abandon(plan: &mut Plan, draw: &mut Stream) {
    let key = draw.index("key", plan.cluster.keys);
    let primaries = owners(plan, key).1;
    let others: Vec<u32> = (1..=plan.cluster.nodes).filter(|node| !primaries.contains(node)).collect();
    let at = Span::from_micros(draw.choose("at", 0..=60_000));
    let lasting = Span::from_millis(draw.pick("lasting", &[100, 400, 1_500]));
    if draw.chance("they are down", 300) {
        let crash = |node: &u32| TimedFault { at, lasting, fault: Fault::Crash { node: *node, begun: 1_000 } };
        plan.faults.extend(primaries.iter().map(crash));
    } else {
        let islands = vec![primaries.clone(), others];
        plan.faults.push(TimedFault { at, lasting, fault: Fault::Islands { islands } });
    }
    for client in 0..plan.clients.len().min(8) {
        if client == 0 || draw.chance("cut off, too", 600) {
            let fault = Fault::CutClient { client: number(client as u64), nodes: primaries.clone() };
            plan.faults.push(TimedFault { at, lasting, fault });
            plan.clients[client].steps.iter_mut().for_each(|step| goes_on(step, key, draw));
        }
    }
}

/// Most of what the client does is now about that key, and whoever can be reached may do it.
fn goes_on(step: &mut Step, abandoned: usize, draw: &mut Stream) {
    step.sloppy = draw.chance("sloppy", 800);
    step.ask = Whom::Best;
    if draw.chance("about the key", 600) {
        match &mut step.action {
            Action::Put(put) | Action::Update(put) => put.key = abandoned,
            Action::Delete(delete) => delete.key = abandoned,
            Action::Get(get) => get.key = abandoned,
            Action::GetMany(_) | Action::PutMany(_) | Action::Scan(_) | Action::Forge(_) => {}
        }
    }
}
