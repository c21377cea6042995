//! Members that change: what an operator does, and what a node's shards tell each other.
//!
//! ```text
//! (begun) ──the node answers──▶ staged ──its copy shows it──▶ committed, seen in its copy ──▶ (done)
//!                                  ▲                              │ somebody staged something else meanwhile
//!                                  └──────────────────────────────┘
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_node::replica::layout;
use quorate_node::{Input, Progress, SessionId, Time};
use quorate_ring::layout::{Change, EpochId, Layout, Placement, Role};
use quorate_ring::wire::{LayoutChange, Request, RequestId};
use quorate_ring::{Capacity, NodeId, Ring, ZoneName};

use super::event::Event;
use super::{Phase, Simulation, index_in_plan, node_id};
use crate::catalogue::FaultId;
use crate::oracle::{Oracle, Violation};
use crate::plan::Plan;
use crate::plan::fault::Fault;
use crate::sometimes::Sometimes;

/// The operator's connection to every node.
pub(super) const OPERATOR: SessionId = SessionId(u64::MAX);
/// How long the operator waits before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(40);
const OPERATOR_WAITS_MILLIS: u32 = 1_000;
/// All changes are carried out by so long after everything is healed.
const CARRIED_OUT: Duration = Duration::from_secs(180);
const CARRIED_OUT_STEP: Duration = Duration::from_millis(500);

/// How word of the members went round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Of each epoch by its number: when each node that ever went by it first did, in order.
    pub known: BTreeMap<u64, Vec<Time>>,
    /// Of each epoch: when each node first went by it alone, in order.
    pub alone: BTreeMap<u64, Vec<Time>>,
    /// Messages about the layout that were sent.
    pub messages: u64,
    /// Their bytes, framed.
    pub bytes: u64,
    /// Bytes of datagrams of failure detectors that were sent, by the second.
    pub detector_bytes: BTreeMap<u64, u64>,
}

/// How members change in a run.
#[derive(Default)]
pub(super) struct Members {
    /// What every node begins with; nothing if members never change.
    founding: Option<Layout>,
    /// The changes of the plan that are staged, by the index of the fault.
    staged: BTreeMap<usize, Staged>,
    /// Of each number the epoch that was first seen.
    epochs: BTreeMap<u64, EpochId>,
    /// The copy that a commit was last proposed for, and which. To make one takes long, and operators try again and again.
    proposed: Option<(Layout, EpochId)>,
    requests: u64,
    /// How word of them goes round.
    pub(super) spread: Spread,
    /// The last epoch that each node has gone by, and the last that it has gone by alone.
    gone_by: BTreeMap<usize, (u64, u64)>,
}

impl Members {
    pub(super) fn of(founding: Option<Layout>) -> Self {
        Self { founding, ..Self::default() }
    }

    pub(super) const fn founding(&self) -> Option<&Layout> {
        self.founding.as_ref()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Staged {
    Wished,
    Done,
}

/// What a plan's nodes begin with.
pub(super) fn founding(plan: &Plan) -> Option<Layout> {
    let members = plan.cluster.members?;
    let roles =
        (1..=members).map(|node| (node_id(index_in_plan(node)), role(plan, node, Capacity::default()))).collect();
    Some(Layout::new(plan.partitions(), plan.cluster.n, roles).expect("the plan was checked"))
}

fn role(plan: &Plan, node: u32, capacity: Capacity) -> Role {
    let zone = plan.cluster.zones.map(|zones| ZoneName::new(&format!("z{}", node % zones)).expect("a label"));
    Role { address: format!("n{node}:7401"), zone, capacity }
}

impl Simulation {
    /// An operator begins to change members.
    pub(super) fn members_change(&mut self, index: usize) {
        let Fault::Members { remove, .. } = &self.plan.faults[index].fault else { return };
        for node in remove.clone() {
            self.truth.removed.insert(index_in_plan(node));
            self.crash_for(index_in_plan(node), None, 0);
        }
        self.queue.push(self.now, Event::Operate { index });
    }

    /// The operator does what is next.
    pub(super) fn operate(&mut self, index: usize) -> Result<(), Violation> {
        let Fault::Members { by, join, leave, remove, weigh } = self.plan.faults[index].fault.clone() else {
            return Ok(());
        };
        let node = index_in_plan(by);
        if self.phase != Phase::Load || self.members.staged.get(&index) == Some(&Staged::Done) {
            return Ok(());
        }
        self.queue.push(self.now + LOOK_AGAIN, Event::Operate { index });
        let Some(layout) = self.copy_of(node).cloned().filter(|_| self.paused_until(node).is_none()) else {
            return Ok(());
        };
        let plan = &self.plan;
        let take = |node: u32, capacity| (node_id(index_in_plan(node)), Change::Take(role(plan, node, capacity)));
        let gone = |node: &u32, forced| (node_id(index_in_plan(*node)), Change::Leave { forced });
        let wishes: Vec<(NodeId, Change)> = (join.iter().map(|node| take(*node, Capacity::default())))
            .chain(weigh.iter().map(|weighed| take(weighed.node, Capacity::from(weighed.capacity))))
            .chain(leave.iter().map(|node| gone(node, false)))
            .chain(remove.iter().map(|node| gone(node, true)))
            .collect();
        if self.members.staged.insert(index, Staged::Wished).is_none() {
            return wishes
                .into_iter()
                .try_for_each(|(at, change)| self.ask_as_operator(node, LayoutChange::Wish { node: at, change }));
        }
        // What is wished of each was taken over, or somebody else wished for something else since.
        match self.propose(layout) {
            Some(epoch) => self.ask_as_operator(node, LayoutChange::Commit { epoch }),
            None => {
                self.members.staged.insert(index, Staged::Done);
                Ok(())
            }
        }
    }

    /// What a commit of all that is staged in a copy would be, if there can be one.
    fn propose(&mut self, layout: Layout) -> Option<EpochId> {
        if let Some((_, epoch)) = self.members.proposed.as_ref().filter(|(copy, _)| copy.proposes_as(&layout)) {
            return Some(*epoch);
        }
        let epoch = layout.propose().ok()?.epoch.id();
        self.members.proposed = Some((layout, epoch));
        Some(epoch)
    }

    fn ask_as_operator(&mut self, node: usize, change: LayoutChange) -> Result<(), Violation> {
        self.members.requests += 1;
        let (id, request) = (RequestId(self.members.requests), Request::ChangeLayout(change));
        let timeout_millis = OPERATOR_WAITS_MILLIS;
        self.turn(node, 0, Input::ClientRequest { session: OPERATOR, id, timeout_millis, request, indices: None })
    }

    /// The ring that the cluster began with: a machine's disks are its own by that.
    pub(super) fn founding_ring(&self) -> Arc<Ring> {
        self.members.founding.as_ref().map_or_else(|| self.ring.clone(), |layout| layout.last().ring.clone())
    }

    fn copy_of(&self, node: usize) -> Option<&Layout> {
        self.nodes[node].process.as_ref()?.shards[0].layout()
    }

    /// The first shard of a node tells the others who holds what.
    pub(super) fn placed(&mut self, node: usize, placement: &Arc<Placement>) {
        let life = self.nodes[node].life;
        for shard in 1..self.nodes[node].disks.len() {
            let placement = placement.clone();
            self.queue.push(self.now, Event::Placed { node, life, shard, placement });
        }
        let last = placement.last_epoch();
        let (known, alone) = self.members.gone_by.entry(node).or_insert((1, 1));
        if *known < last.number {
            *known = last.number;
            self.members.spread.known.entry(last.number).or_default().push(self.now);
        }
        if placement.is_changing() {
            self.tallies.note(Sometimes::EpochsOverlapped);
        } else if *alone < last.number {
            *alone = last.number;
            self.members.spread.alone.entry(last.number).or_default().push(self.now);
        }
        if *self.members.epochs.entry(last.number).or_insert(last) != last {
            self.tallies.note(Sometimes::RivalCommits);
        }
        if 1 < last.number {
            self.fired(FaultId::M1);
        }
    }

    /// A node removes what it stores of a partition that it does not hold any more.
    pub(super) fn released(&mut self, node: usize, from: &Bytes, until: &Bytes) {
        self.tallies.note(Sometimes::ReplicaReleased);
        for truth in &self.truth.keys {
            if (from..until).contains(&&layout::object(&truth.key)) {
                self.replicas.release(self.nodes[node].id, &truth.key);
            }
        }
    }

    /// A node hears by which epoch another's writes go.
    pub(super) fn heard_of_epoch(&mut self, node: usize, last: u64) {
        if self.copy_of(node).is_some_and(|copy| copy.last().number() != last) {
            self.fired(FaultId::M2);
        }
    }

    /// A shard tells the first how far it has come.
    pub(super) fn progressed(&mut self, node: usize, shard: usize, progress: Progress) {
        if self.members.founding.is_some() {
            let life = self.nodes[node].life;
            self.queue.push(self.now, Event::Progressed { node, life, shard, progress });
        }
    }

    /// All changes are carried out, in bounded time, and all nodes know the same: from then on it is the ring.
    pub(super) fn carry_out(&mut self) -> Result<(), Violation> {
        if self.members.founding.is_none() {
            return Ok(());
        }
        let until = self.now + CARRIED_OUT;
        while let Some(what) = self.not_carried_out() {
            if until <= self.now {
                return Err(Violation::new(Oracle::Convergence, what));
            }
            self.run_until(self.now + CARRIED_OUT_STEP)?;
        }
        let copy = (0..self.nodes.len()).find_map(|node| self.copy_of(node)).expect("all nodes run");
        let (ring, number) = (copy.last().ring.clone(), copy.last().number());
        self.ring = ring;
        if 1 < number {
            self.tallies.note(Sometimes::MembersChanged);
        }
        Ok(())
    }

    fn not_carried_out(&self) -> Option<String> {
        let copies: Vec<_> = (0..self.nodes.len()).filter_map(|node| Some((node, self.copy_of(node)?))).collect();
        let (_, first) = copies.first()?;
        for (node, copy) in &copies {
            let id = self.nodes[*node].id;
            if 1 < copy.live().len() {
                let progress = copy.waited_for().into_iter().map(|at| format!("{at}: {:?}", copy.progress_of(at)));
                let progress: Vec<String> = progress.collect();
                return Some(format!("{id} knows {} live epochs; {}", copy.live().len(), progress.join(", ")));
            }
            if copy != first {
                return Some(format!("the copies of the layout of {} and {id} differ", self.nodes[copies[0].0].id));
            }
        }
        None
    }
}
