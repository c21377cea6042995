//! A smaller cluster: fewer nodes and keys, a lower N, and nothing unusual about its network and disks.

use std::collections::BTreeMap;

use quorate_ring::Quorum;

use crate::delay::{Delay, Shape};
use crate::plan::fault::{Fault, Pair};
use crate::plan::hints::HintPlan;
use crate::plan::load::{Action, Asked, Whom};
use crate::plan::span::Span;
use crate::plan::{Carrier, Plan};

/// Without one node, for each; those after it are renumbered.
pub(super) fn fewer_nodes(plan: &Plan) -> Vec<Plan> {
    (1..=plan.cluster.nodes).rev().map(|gone| without_node(plan, gone)).collect()
}

fn without_node(plan: &Plan, gone: u32) -> Plan {
    let mut plan = plan.clone();
    plan.cluster.nodes -= 1;
    if let Some(members) = &mut plan.cluster.members {
        *members -= u32::from(gone <= *members);
    }
    if gone as usize <= plan.cluster.protocols.len() {
        plan.cluster.protocols.remove(gone as usize - 1);
    }
    plan.faults.retain_mut(|fault| leave_node(&mut fault.fault, gone));
    leave_list(&mut plan.cluster.core_without, gone);
    for step in plan.clients.iter_mut().flat_map(|client| &mut client.steps) {
        if let Whom::Node(node) = &mut step.ask
            && !leave(node, gone)
        {
            step.ask = Whom::Best;
        }
    }
    plan
}

/// Renumbers a node; says whether it is still there.
fn leave(node: &mut u32, gone: u32) -> bool {
    let stays = *node != gone;
    *node -= u32::from(gone < *node);
    stays
}

fn leave_list(nodes: &mut Vec<u32>, gone: u32) {
    nodes.retain_mut(|node| leave(node, gone));
}

fn leave_pair(pair: &mut Pair, gone: u32) -> bool {
    // Both, also if the first is gone.
    let [one, other] = pair;
    let stays = leave(one, gone);
    leave(other, gone) && stays
}

/// Takes a node out of a fault; says whether anything is left of it.
fn leave_node(fault: &mut Fault, gone: u32) -> bool {
    match fault {
        Fault::SlowLinks { links, .. }
        | Fault::Cut { links }
        | Fault::Clog { links }
        | Fault::OneWay { blocked: links } => {
            links.retain_mut(|pair| leave_pair(pair, gone));
            !links.is_empty()
        }
        Fault::Islands { islands } => {
            islands.iter_mut().for_each(|island| leave_list(island, gone));
            islands.retain(|island| !island.is_empty());
            !islands.is_empty()
        }
        Fault::CutClient { nodes, .. } | Fault::PowerLoss { nodes, .. } => {
            leave_list(nodes, gone);
            !nodes.is_empty()
        }
        Fault::Corrupt { link, .. } | Fault::Flap { link, .. } | Fault::Narrow { link, .. } | Fault::Reset { link } => {
            leave_pair(link, gone)
        }
        Fault::SwapDisks { nodes } => leave_pair(nodes, gone),
        Fault::ResetClient { node, .. }
        | Fault::LoseReplies { node, .. }
        | Fault::FanOut { node, .. }
        | Fault::Crash { node, .. }
        | Fault::CrashAt { node, .. }
        | Fault::Stop { node }
        | Fault::Upgrade { node, .. }
        | Fault::ReplaceDisks { node }
        | Fault::OldCopy { node }
        | Fault::Pause { node }
        | Fault::Stutter { node, .. }
        | Fault::Clock { node, .. }
        | Fault::Strobe { node, .. }
        | Fault::Horizon { node }
        | Fault::WriteFailure { node }
        | Fault::SyncFailure { node }
        | Fault::LyingSync { node }
        | Fault::ReadFailure { node }
        | Fault::Rot { node, .. }
        | Fault::Misdirect { node, .. }
        | Fault::Forget { node, .. }
        | Fault::DiskFull { node }
        | Fault::SlowDisk { node }
        | Fault::StallDisk { node }
        | Fault::Stranger { node } => leave(node, gone),
        Fault::Members { by, join, leave: leaving, remove, weigh } => {
            [join, leaving, remove].into_iter().for_each(|nodes| leave_list(nodes, gone));
            weigh.retain_mut(|weighed| leave(&mut weighed.node, gone));
            leave(by, gone)
        }
        Fault::LoseEach { .. } | Fault::Quorum { .. } => true,
    }
}

/// With a lower N and the majorities of it, smallest first.
pub(super) fn lower_n(plan: &Plan) -> Vec<Plan> {
    let lower = (1..=plan.cluster.n).filter_map(|n| {
        let quorum = Quorum::majority(n).ok()?;
        let mut plan = plan.clone();
        (plan.cluster.n, plan.cluster.r, plan.cluster.w) = (n, quorum.r(), quorum.w());
        Some(plan)
    });
    lower.collect()
}

/// Everything on one key; only the keys that are used; without each of them, its part taken by the first.
pub(super) fn fewer_keys(plan: &Plan) -> Vec<Plan> {
    let mut used: Vec<usize> = all_keys(&mut plan.clone()).into_iter().map(|key| *key).collect();
    used.sort_unstable();
    used.dedup();
    let Some(first) = used.first().copied() else { return vec![of_keys(plan, 1, |_| 0)] };
    let numbers: BTreeMap<usize, usize> = used.iter().copied().zip(0..).collect();
    let count = used.len();
    // Where a key lies depends on its number: the highest that is used may have to stay.
    let highest = used.last().copied().unwrap_or_default();
    let mut plans = vec![of_keys(plan, 1, |_| 0), of_keys(plan, count, |key| numbers[&key])];
    plans.push(of_keys(plan, highest + 1, |key| key));
    plans.extend(
        used.iter().skip(1).map(|gone| of_keys(plan, plan.cluster.keys, |key| if key == *gone { first } else { key })),
    );
    // Only what has fewer keys is simpler.
    plans.retain(|smaller| {
        let mut of: Vec<usize> = all_keys(&mut smaller.clone()).into_iter().map(|key| *key).collect();
        of.sort_unstable();
        of.dedup();
        (smaller.cluster.keys, of.len()) < (plan.cluster.keys, count)
    });
    plans
}

fn of_keys(plan: &Plan, count: usize, number: impl Fn(usize) -> usize) -> Plan {
    let mut plan = plan.clone();
    plan.cluster.keys = count;
    all_keys(&mut plan).into_iter().for_each(|key| *key = number(*key));
    plan
}

fn all_keys(plan: &mut Plan) -> Vec<&mut usize> {
    let mut keys = Vec::new();
    for fault in &mut plan.faults {
        match &mut fault.fault {
            Fault::Rot { key, .. } | Fault::Forget { key, .. } => keys.push(key),
            Fault::Misdirect { keys: both, .. } => keys.extend(both),
            _ => {}
        }
    }
    for step in plan.clients.iter_mut().flat_map(|client| &mut client.steps) {
        match &mut step.action {
            Action::Get(get) => keys.push(&mut get.key),
            Action::Put(put) | Action::Update(put) => keys.push(&mut put.key),
            Action::Delete(delete) => keys.push(&mut delete.key),
            Action::GetMany(many) => keys.extend(&mut many.keys),
            Action::PutMany(many) => keys.extend(&mut many.keys),
            Action::Scan(scan) => keys.push(&mut scan.key),
            Action::Forge(forge) => keys.push(&mut forge.key),
        }
    }
    keys
}

/// Each unusual thing about the cluster, its network and its disks, usual. Nodes go on sweeping: without it less is promised, and a plan would
/// soon fail for that.
pub(super) fn plainer(plan: &Plan) -> Vec<Plan> {
    const PLAINER: [fn(&mut Plan); 18] = [
        |plan| {
            plan.network.carrier = Carrier::Streams;
            plan.delays().into_iter().for_each(make_constant);
        },
        |plan| plan.cluster.core_without.clear(),
        |plan| plan.cluster.protocols.clear(),
        |plan| plan.cluster.shards = 1,
        |plan| plan.cluster.hints = HintPlan::default(),
        |plan| plan.cluster.transfer_page = None,
        |plan| plan.cluster.zones = None,
        |plan| plan.cluster.partitions = plan.cluster.partitions.min(8),
        |plan| plan.cluster.durability = Asked::Buffered,
        |plan| plan.network.carrier = Carrier::Streams,
        |plan| {
            if let Carrier::Datagrams { lost, .. } = &mut plan.network.carrier {
                *lost = 0;
            }
        },
        |plan| {
            if let Carrier::Datagrams { duplicated, .. } = &mut plan.network.carrier {
                *duplicated = 0;
            }
        },
        |plan| make_constant(&mut plan.network.delay),
        |plan| make_constant(&mut plan.network.detection),
        |plan| make_constant(&mut plan.disk.write),
        |plan| make_constant(&mut plan.disk.completion),
        |plan| make_constant(&mut plan.disk.sync),
        |plan| plan.disk.background_sync = plan.disk.background_sync.max(Span::from_millis(5_000)),
    ];
    let plainer = PLAINER.iter().map(|make| {
        let mut plan = plan.clone();
        make(&mut plan);
        plan
    });
    plainer.filter(|plainer| plainer != plan).collect()
}

fn make_constant(delay: &mut Delay) {
    delay.shape = Shape::Constant;
}

impl Plan {
    /// How long everything takes.
    pub(super) fn delays(&mut self) -> [&mut Delay; 5] {
        let (network, disk) = (&mut self.network, &mut self.disk);
        [&mut network.delay, &mut network.detection, &mut disk.write, &mut disk.completion, &mut disk.sync]
    }
}
