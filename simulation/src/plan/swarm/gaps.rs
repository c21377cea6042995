//! What leaves gaps in clocks: a node whose writes do not reach the others for a while, then do again, and that loses power before the
//! others have fetched what they missed. Some of it may be known to somebody all the same: as a hint, or by a repair.
//!
//! It draws from a stream of its own, and adds clients of its own: a seed's other load and faults are what they were without it, but
//! that less is synced where it is added.

use std::collections::BTreeSet;

use super::super::Plan;
use super::super::fault::{Fault, MessageKind, TimedFault};
use super::super::load::{Action, Asked, ClientPlan, Delete, Get, Put, Step, Whom};
use super::super::span::Span;
use crate::catalogue::FaultId;
use crate::choices::{Choices, Stream};
use crate::engine::owners;

/// How often, of a thousand seeds with other replicas.
const GAPS: u64 = 80;
/// How long each step waits.
const WITHIN: Span = Span::from_millis(200);
/// When the writes begin that are lost, in milliseconds, and for how long: before clocks are compared for the second time.
const LOST_FROM: u64 = 250;
const LOST: u64 = 60;
/// For how long those that may keep hints are away, in milliseconds: longer than gaps stand before they may be closed.
const AWAY: u64 = 30_000;

/// Adds it to a plan whose cluster, clients and faults are drawn.
pub(super) fn add(plan: &mut Plan, kinds: &BTreeSet<FaultId>, choices: &mut Choices) {
    let draw = &mut choices.stream("gaps");
    let wanted = [FaultId::N7, FaultId::N14, FaultId::P2].iter().all(|id| kinds.contains(id));
    if wanted && 1 < plan.cluster.n && draw.chance("gaps", GAPS) {
        leave_gaps(plan, draw);
    }
}

fn leave_gaps(plan: &mut Plan, draw: &mut Stream) {
    let lost = draw.index("lost key", plan.cluster.keys);
    let (partition, primaries) = owners(plan, lost);
    let later = (0..).find(|key| *key != lost && owners(plan, *key).0 == partition).expect("partitions have many keys");
    plan.cluster.keys = plan.cluster.keys.max(later + 1);
    // What was synced is not lost.
    (plan.cluster.durability, plan.disk.background_sync) = (Asked::Buffered, Span::from_millis(5_000));
    let node = primaries[draw.index("which", primaries.len())];
    let others: Vec<u32> = (1..=plan.cluster.nodes).filter(|node| !primaries.contains(node)).collect();
    let power = LOST_FROM + LOST + draw.choose("until power goes", 5..=60);
    let hinted = !others.is_empty() && draw.chance("hinted", 300);
    let mut add = |from: u64, lasting: u64, fault| {
        let (at, lasting) = (Span::from_millis(from), Span::from_millis(lasting));
        plan.faults.push(TimedFault { at, lasting, fault });
    };
    if hinted {
        let side: Vec<u32> = others.iter().copied().chain([node]).collect();
        let rest = primaries.iter().copied().filter(|other| *other != node).collect();
        add(LOST_FROM - 10, LOST, Fault::Islands { islands: vec![side, rest] });
        add(LOST_FROM + LOST - 15, AWAY, Fault::Islands { islands: vec![primaries.clone(), others] });
    } else {
        add(LOST_FROM - 1, LOST, Fault::LoseEach { message: MessageKind::Replicate, nth: 1 });
    }
    add(power, draw.choose("down", 20..=400), Fault::PowerLoss { nodes: vec![node], keeps: 0, torn: false });
    // Long enough for gaps to be closed while nobody reads.
    let last = if hinted || draw.chance("goes on", 500) { LOST_FROM + AWAY } else { power };
    plan.clients.push(writer(draw, node, [lost, later], hinted, last));
    plan.clients.push(reader(draw, &primaries, lost, power));
}

fn step(at: u64, ask: Whom, sloppy: bool, action: Action) -> Step {
    Step { after: Span::default(), at: Span::from_millis(at), within: WITHIN, ask, sloppy, action }
}

/// Writes that are lost, and one that is not.
fn writer(draw: &mut Stream, node: u32, [lost, later]: [usize; 2], sloppy: bool, last: u64) -> ClientPlan {
    let ask = Whom::Node(node);
    let put = |key, w| Action::Put(Put { key, w, ..Put::default() });
    let mut steps = vec![step(LOST_FROM - 100, ask, false, put(lost, None))];
    for number in 0..draw.choose("lost events", 1..=3) {
        let w = if sloppy { None } else { Some(1) };
        let action = match draw.chance("delete", 400) {
            true => Action::Delete(Delete { key: lost, w, durability: None }),
            false => put(lost, w),
        };
        steps.push(step(LOST_FROM + 10 * number, ask, sloppy, action));
    }
    steps.push(step(LOST_FROM + LOST, ask, false, put(later, Some(1))));
    steps.push(step(last, Whom::Best, false, put(later, None)));
    ClientPlan { starts: Span::default(), steps }
}

/// A read before power goes, which may repair one replica and not another.
fn reader(draw: &mut Stream, primaries: &[u32], lost: usize, power: u64) -> ClientPlan {
    let ask = Whom::Node(primaries[draw.index("reader", primaries.len())]);
    let at = draw.choose("reads", LOST_FROM + LOST / 2..=power);
    ClientPlan {
        starts: Span::default(),
        steps: vec![step(at, ask, false, Action::Get(Get { key: lost, r: Some(2), repaired: false }))],
    }
}
