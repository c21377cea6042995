//! Layouts of several nodes, wished, committed and exchanged in any order, late and more than once: histories join, no wish is lost, what is sent is what arrives, and reads
//! see every acknowledged write while epochs follow one another. A node may die, be removed by force, and come back when all is over. Against a deliberately dumb model: each node holds a set of writes,
//! and whoever reads or writes chooses any quorum of those that do not refuse.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use quorate_ring::layout::{Change, Delta, EpochId, InvalidCommit, Layout, Role};
use quorate_ring::{Capacity, NodeId, PartitionCount, PartitionId};
use serde::Serialize;
use serde::de::DeserializeOwned;

const N: u8 = 3;
const QUORUM: usize = 2;
const NODES: u32 = 6;
const PARTITIONS: u16 = 8;

/// What a node goes through from one epoch to the next.
const STEPS: [fn(&mut Layout, NodeId); 3] = [
    |layout, own| _ = layout.acknowledge(own),
    |layout, own| _ = layout.note_synced(own, layout.acknowledged_by_all().id()),
    |layout, own| _ = layout.note_reading(own),
];

/// A write, and the partition of its key.
type Write = (PartitionId, u32);

fn node(number: u32) -> NodeId {
    NodeId::new(number).expect("not 0")
}

fn role(weight: u32) -> Role {
    Role { address: format!("h{weight}:1"), zone: None, capacity: Capacity::new(weight).expect("not 0") }
}

fn partition(turn: usize) -> PartitionId {
    PartitionId::new(u16::try_from(turn).expect("small") % PARTITIONS)
}

/// A node: its copy of the layout, and the writes that it holds.
#[derive(Clone)]
struct Machine {
    layout: Layout,
    holds: BTreeSet<Write>,
}

struct World {
    machines: BTreeMap<NodeId, Machine>,
    /// Copies that may still arrive, as often as it pleases the network.
    sent: Vec<Layout>,
    acknowledged: BTreeSet<Write>,
    writes: u32,
    /// The epochs that each node has ever written to, when no write was under way that did not.
    written_to: BTreeMap<NodeId, BTreeSet<EpochId>>,
    /// The epochs that somebody has found to be acknowledged by all, with that node's copy.
    settled: BTreeMap<EpochId, Layout>,
    dead: Option<NodeId>,
}

impl World {
    fn new() -> Self {
        let roles = (1..=4).map(|number| (node(number), role(100))).collect();
        let layout = Layout::new(PartitionCount::new(PARTITIONS.into()).expect("a power of two"), N, roles)
            .expect("four are enough");
        let machine = |number| (node(number), Machine { layout: layout.clone(), holds: BTreeSet::new() });
        Self {
            machines: (1..=NODES).map(machine).collect(),
            sent: vec![layout.clone()],
            acknowledged: BTreeSet::new(),
            writes: 0,
            written_to: BTreeMap::new(),
            settled: BTreeMap::new(),
            dead: None,
        }
    }

    fn at(&mut self, node: NodeId) -> &mut Machine {
        self.machines.get_mut(&node).expect("one of them")
    }

    /// The replicas of an epoch that would take a request which a node makes under it: those that have not dropped it, and know of no epoch that
    /// all have acknowledged and the node may not know. In an order that chance says.
    fn takers(&self, by: NodeId, number: u64, replicas: impl Iterator<Item = NodeId>, turn: usize) -> Vec<NodeId> {
        let goes_by = self.machines[&by].layout.placement(by).goes_by(by);
        let knows =
            |layout: &Layout| layout.live()[0].number() <= number && layout.acknowledged_by_all().number() <= goes_by;
        let takes = |node: &NodeId| self.dead != Some(*node) && knows(&self.machines[node].layout);
        let mut takers: Vec<NodeId> = replicas.filter(takes).collect();
        let by = turn % takers.len().max(1);
        takers.rotate_left(by);
        takers
    }

    /// A write that a node coordinates: acknowledged if a quorum of each epoch that is live for it takes it.
    fn write(&mut self, at: NodeId, turn: usize) {
        self.writes += 1;
        let partition = partition(turn);
        let (write, live) = ((partition, self.writes), self.machines[&at].layout.live().to_vec());
        let mut enough = true;
        for epoch in live {
            let takers = self.takers(at, epoch.number(), epoch.ring.primaries(partition), turn);
            enough &= QUORUM <= takers.len();
            takers.into_iter().take(QUORUM).for_each(|taker| _ = self.at(taker).holds.insert(write));
        }
        if enough {
            self.acknowledged.insert(write);
        }
    }

    /// What a quorum of the epoch that a node reads by holds of a partition; nothing if too many refuse.
    fn read(&self, at: NodeId, partition: PartitionId, turn: usize) -> Option<BTreeSet<Write>> {
        let epoch = self.machines[&at].layout.reads_by();
        let takers = self.takers(at, epoch.number(), epoch.ring.primaries(partition), turn);
        let held = takers.iter().take(QUORUM).flat_map(|taker| self.machines[taker].holds.iter().copied());
        (QUORUM <= takers.len()).then(|| held.filter(|write| write.0 == partition).collect())
    }

    fn check_read(&self, at: NodeId, turn: usize) {
        let partition = partition(turn);
        if let Some(found) = self.read(at, partition, turn) {
            let missed: Vec<_> = self.acknowledged.difference(&found).filter(|write| write.0 == partition).collect();
            assert!(missed.is_empty(), "{at} does not see {missed:?}");
        }
    }

    /// A node receives what it has to hold up to the newest epoch that all write to.
    fn sync(&mut self, at: NodeId, turn: usize) {
        let layout = self.machines[&at].layout.clone();
        let newest = layout.acknowledged_by_all().id();
        for epoch in layout.live().iter().take_while(|epoch| epoch.number() <= newest.number) {
            for partition in epoch.ring.partitions_of(at) {
                let Some(found) = self.read(at, partition, turn) else { return };
                self.at(at).holds.extend(found);
            }
        }
        self.at(at).layout.note_synced(at, newest);
    }

    /// What no live epoch places at a node any more is deleted there.
    fn tidy(&mut self, at: NodeId) {
        let machine = self.at(at);
        let live = machine.layout.live();
        let is_placed = |write: &Write| live.iter().any(|epoch| epoch.ring.is_primary(at, write.0));
        machine.holds.retain(is_placed);
    }

    fn change(&mut self, at: NodeId, of: NodeId, which: usize) {
        let change = match which % 3 {
            0 => Change::Leave { forced: false },
            _ => Change::Take(role(u32::try_from(50 + which % 5 * 40).expect("small"))),
        };
        self.at(at).layout.wish(at, of, change);
    }

    fn commit(&mut self, at: NodeId) {
        let layout = &mut self.at(at).layout;
        match layout.propose() {
            Ok(proposal) => match layout.commit(at, proposal.epoch.id()) {
                Ok(()) | Err(InvalidCommit::NotAMember { .. } | InvalidCommit::TooManyLive) => {}
                Err(error) => panic!("{error}"),
            },
            Err(InvalidCommit::NothingStaged | InvalidCommit::Plan(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn receive(&mut self, at: NodeId, which: usize) {
        let sent = self.sent[which % self.sent.len()].clone();
        let wishes =
            |layout: &Layout| (1..=NODES).map(|number| layout.wished(node(number)).cloned()).collect::<Vec<_>>();
        let before = [wishes(&self.machines[&at].layout), wishes(&sent)];
        self.at(at).layout.merge(&sent);
        let after = wishes(&self.machines[&at].layout);
        for (index, wish) in after.iter().enumerate() {
            let later = before[0][index].clone().max(before[1][index].clone());
            let is_removed = self.machines[&at].layout.is_removed(node(u32::try_from(index + 1).expect("small")));
            assert!(is_removed || *wish == later, "the later wish counts");
        }
        self.tidy(at);
    }

    /// One node for good, as far as the others know: they remove it.
    fn die(&mut self, who: NodeId) {
        self.dead.get_or_insert(who);
    }

    fn remove(&mut self, at: NodeId) {
        if let Some(dead) = self.dead {
            self.at(at).layout.wish(at, dead, Change::Leave { forced: true });
            self.commit(at);
        }
    }

    fn happen(&mut self, (what, at, which): (u8, u32, usize)) {
        let at = node(at + 1);
        if self.dead == Some(at) {
            return;
        }
        match what {
            20 if which.is_multiple_of(5) => self.die(at),
            20 | 21 => self.remove(at),
            0 => self.change(at, node(u32::try_from(which).expect("small") % NODES + 1), which),
            1 => self.commit(at),
            12 => self.go_on(at, which),
            13 => self.meet(at, which),
            15 => self.hear(at),
            16 => {
                self.change(at, node(u32::try_from(which).expect("small") % NODES + 1), which);
                self.commit(at);
            }
            17 => self.alive().into_iter().for_each(|at| self.go_on(at, which)),
            2 => self.sent.push(self.machines[&at].layout.clone()),
            3..=5 => self.receive(at, self.sent.len() - 1 - which % self.sent.len().min(4)),
            6 => self.receive(at, which),
            7 => self.acknowledge(at),
            8 => self.sync(at, which),
            9 => {
                self.at(at).layout.note_reading(at);
                self.tidy(at);
            }
            10 | 14 => self.write(at, which),
            11 if which.is_multiple_of(7) => self.at(at).layout.revert(at),
            _ => self.check_read(at, which),
        }
    }

    fn acknowledge(&mut self, at: NodeId) {
        self.at(at).layout.acknowledge(at);
        let ids: Vec<EpochId> = self.machines[&at].layout.live().iter().map(|epoch| epoch.id()).collect();
        self.written_to.entry(at).or_default().extend(ids);
    }

    /// What is thought to be acknowledged by all is.
    fn check_acknowledged(&mut self) {
        for at in self.alive() {
            let layout = &self.machines[&at].layout;
            let epoch = layout.acknowledged_by_all().id();
            if layout.live()[0].id() == epoch {
                continue;
            }
            let until = layout.live().iter().take_while(|live| live.number() <= epoch.number);
            let members = until.flat_map(|live| live.ring.members()).map(|member| member.node);
            for other in members.filter(|node| !layout.is_removed(*node)) {
                let written = self.written_to.get(&other).is_some_and(|written| written.contains(&epoch));
                assert!(written, "{at} thinks that {other} has acknowledged {epoch:?}");
            }
            self.settled.entry(epoch).or_insert_with(|| layout.clone());
        }
    }

    /// No history, whoever may still have it or send it, wins over one that has an epoch which all had acknowledged, and lacks that.
    fn check_settled(&self) {
        let copies = self.machines.values().map(|machine| &machine.layout).chain(&self.sent);
        for (copy, (epoch, settled)) in copies.flat_map(|copy| self.settled.iter().map(move |settled| (copy, settled)))
        {
            let met = met(settled, copy);
            let live = met.live();
            let kept = epoch.number < live[0].number() || live.iter().any(|live| live.id() == *epoch);
            assert!(kept, "{epoch:?}, which all had acknowledged, loses against {copy:?}");
        }
    }

    /// A node goes all steps that it can.
    fn go_on(&mut self, at: NodeId, turn: usize) {
        self.acknowledge(at);
        self.sync(at, turn);
        self.at(at).layout.note_reading(at);
        self.tidy(at);
    }

    fn alive(&self) -> Vec<NodeId> {
        self.machines.keys().copied().filter(|node| self.dead != Some(*node)).collect()
    }

    /// Two nodes tell each other what they have.
    fn meet(&mut self, one: NodeId, which: usize) {
        let other = node(u32::try_from(which).expect("small") % NODES + 1);
        if self.dead == Some(other) {
            return;
        }
        let copies = [one, other].map(|node| self.machines[&node].layout.clone());
        self.at(one).layout.merge(&copies[1]);
        self.at(other).layout.merge(&copies[0]);
        [one, other].into_iter().for_each(|node| self.tidy(node));
    }

    /// A node hears from all others, and they do not from it.
    fn hear(&mut self, at: NodeId) {
        let copies: Vec<Layout> = self.alive().iter().map(|node| self.machines[node].layout.clone()).collect();
        copies.iter().for_each(|copy| _ = self.at(at).layout.merge(copy));
        self.tidy(at);
    }

    /// Everybody hears from everybody and goes all steps. A dead one comes back with what it had; first it is removed.
    fn settle(&mut self) {
        let alive = self.alive();
        if self.dead.is_some() {
            alive.iter().for_each(|at| self.hear(*at));
            let member = alive.iter().find(|at| self.machines[at].layout.may_commit(**at));
            self.remove(*member.expect("there are some"));
            for at in alive.iter().chain(&alive) {
                self.go_on(*at, 0);
                self.hear(*at);
            }
        }
        if let Some(back) = self.dead.take() {
            self.hear(back);
        }
        let nodes: Vec<NodeId> = self.machines.keys().copied().collect();
        for round in 0..12 {
            for at in &nodes {
                self.go_on(*at, round);
                self.hear(*at);
                self.check_read(*at, round);
            }
        }
        let first = self.machines[&nodes[0]].layout.clone();
        assert!(self.machines.values().all(|machine| machine.layout == first), "all have one layout");
        assert_eq!(first.live().len(), 1, "only the last epoch is live: {first:?}");
        for (at, machine) in &self.machines {
            let is_placed = |write: &Write| first.last().ring.is_primary(*at, write.0);
            assert!(machine.holds.iter().all(is_placed), "{at} keeps what is not its own");
            (0..8).for_each(|turn| assert!(self.read(*at, partition(turn), turn).is_some(), "{at} can read"));
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<(u8, u32, usize)>> {
    proptest::collection::vec((0..22_u8, 0..NODES, 0..60_usize), 0..250)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn reads_see_every_acknowledged_write_while_epochs_follow_one_another(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.happen(step);
            world.check_acknowledged();
        }
        world.check_settled();
        world.settle();
    }

    #[test]
    fn copies_that_have_met_in_any_order_are_the_same(steps in steps(), which in any::<[prop::sample::Index; 3]>()) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.happen(step));
        let copies: Vec<Layout> =
            world.machines.values().map(|machine| machine.layout.clone()).chain(world.sent).collect();
        let [a, b, c] = which.map(|index| index.get(&copies).clone());
        prop_assert_eq!(met(&a, &a), a.clone());
        prop_assert_eq!(met(&a, &b), met(&b, &a));
        prop_assert_eq!(met(&met(&a, &b), &c), met(&a, &met(&b, &c)));
        let all = met(&met(&a, &b), &c);
        prop_assert_eq!(met(&all, &a), all.clone());
        let encoded = rmp_serde::to_vec(&all).expect("it can be encoded");
        prop_assert_eq!(rmp_serde::from_slice::<Layout>(&encoded).expect("it was encoded so"), all);
    }

    #[test]
    fn a_delta_does_what_the_whole_copy_does(
        steps in steps(),
        which in any::<[prop::sample::Index; 3]>(),
        forgetful in prop::option::of((1..=NODES, 1..4_u32)),
    ) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.happen(step));
        let copies: Vec<Layout> =
            world.machines.values().map(|machine| machine.layout.clone()).chain(world.sent).collect();
        let [target, mut source, third] = which.map(|index| index.get(&copies).clone());
        if let Some((who, words)) = forgetful {
            source = forgotten(node(who), words);
        }
        let [met_target, met_source] = [met(&target, &source), met(&source, &target)];
        let delta = sent(&source.delta(&sent(&target.summary())));
        prop_assert_eq!(&applied(&target, delta.as_ref()), &met_target);
        // While the delta was on its way the target has heard more.
        let later = met(&target, &third);
        let after = applied(&later, delta.as_ref());
        prop_assert!(after == met(&later, &source) || after == later, "all of it or nothing");
        let is_quiet = delta.is_none() && !source.lacks(&target.summary());
        prop_assert_eq!(is_quiet, met_target == target && met_source == source);
        prop_assert!(!source.lacks(&target.summary()) || applied(&source, target.delta(&source.summary()).as_ref()) == met_source);
    }
}

fn met(one: &Layout, other: &Layout) -> Layout {
    let mut met = one.clone();
    met.merge(other);
    met
}

fn applied(copy: &Layout, delta: Option<&Delta>) -> Layout {
    let mut applied = copy.clone();
    let changed = delta.is_some_and(|delta| applied.apply(delta));
    assert_eq!(changed, applied != *copy, "it says whether it changes");
    applied
}

/// As it arrives.
fn sent<T: Serialize + DeserializeOwned>(message: &T) -> T {
    rmp_serde::from_slice(&rmp_serde::to_vec(message).expect("it can be encoded")).expect("it was encoded so")
}

/// The copy of a node that lost its disk: it says other things under sequences that it has used.
fn forgotten(own: NodeId, words: u32) -> Layout {
    let mut layout = four();
    for word in 0..words {
        layout.acknowledge(own);
        layout.note_reading(own);
        layout.wish(node(1), node(5), Change::Take(role(60 + word)));
        let proposed = layout.propose().expect("it can be").epoch.id();
        layout.commit(node(1), proposed).expect("it was proposed just now");
    }
    layout
}

fn four() -> Layout {
    let roles = (1..=4).map(|number| (node(number), role(100))).collect();
    Layout::new(PartitionCount::new(PARTITIONS.into()).expect("a power of two"), N, roles).expect("four are enough")
}

fn join(layout: &mut Layout, by: u32, of: u32) {
    layout.wish(node(by), node(of), Change::Take(role(100)));
    let proposed = layout.propose().expect("it can be").epoch.id();
    layout.commit(node(by), proposed).expect("it was proposed just now");
}

fn members(layout: &Layout) -> Vec<u32> {
    layout.last().ring.members().iter().map(|member| member.node.number()).collect()
}

#[test]
fn of_two_commits_on_two_sides_one_wins_and_the_others_wish_is_staged_again() {
    let (mut one, mut other) = (four(), four());
    join(&mut one, 1, 5);
    join(&mut other, 2, 6);
    let both = [one.clone(), other.clone()];
    assert!(one.merge(&both[1]) | other.merge(&both[0]));
    assert_eq!(one, other);
    let (joined, staged) = (members(&one)[4], one.staged().map(|(node, _)| node.number()).collect::<Vec<_>>());
    assert_eq!((joined + staged[0], staged.len(), one.live().len()), (5 + 6, 1, 2));
    let proposed = one.propose().expect("it can be").epoch.id();
    one.commit(node(3), proposed).expect("what lost is committed again");
    assert_eq!((members(&one), one.staged().count(), one.live().len()), (vec![1, 2, 3, 4, 5, 6], 0, 3));
}

#[test]
fn who_was_removed_by_force_stays_so_and_loses_with_what_it_had_committed_alone() {
    for weight in 50..80 {
        let (mut removed, mut others) = (four(), four());
        join(&mut removed, 3, 5);
        others.wish(node(1), node(3), Change::Leave { forced: true });
        others.wish(node(1), node(1), Change::Take(role(weight)));
        let proposed = others.propose().expect("it can be").epoch.id();
        others.commit(node(1), proposed).expect("it was proposed just now");
        let both = met(&others, &removed);
        assert_eq!((members(&both), &both), (vec![1, 2, 4], &met(&removed, &others)));
        removed = both;
        removed.wish(node(3), node(3), Change::Take(role(100)));
        assert_eq!(removed.staged().map(|(node, _)| node.number()).collect::<Vec<_>>(), [5]);
        let proposed = removed.propose().expect("it can be").epoch.id();
        assert_eq!(removed.commit(node(3), proposed), Err(InvalidCommit::NotAMember { by: node(3) }));
        removed.commit(node(2), proposed).expect("a member may");
        assert_eq!(members(&removed), [1, 2, 4, 5]);
    }
}

#[test]
fn who_joins_goes_by_what_all_have_acknowledged_until_it_reads_by_an_epoch_that_it_is_in() {
    let mut layout = four();
    join(&mut layout, 1, 5);
    let goes_by = |layout: &Layout| [1, 5].map(|number| layout.placement(node(number)).goes_by(node(number)));
    for (step, expected) in STEPS.into_iter().zip([[2, 1], [2, 2], [2, 2]]) {
        assert_eq!((goes_by(&layout), layout.may_commit(node(5))), (expected, false));
        (1..=5).for_each(|number| step(&mut layout, node(number)));
    }
    assert!(layout.may_commit(node(5)));
}

#[test]
fn what_cannot_be_committed_is_refused_and_changes_nothing() {
    let mut layout = four();
    assert_eq!(layout.propose().map(|_| ()), Err(InvalidCommit::NothingStaged));
    layout.wish(node(1), node(5), Change::Take(role(100)));
    let first = layout.propose().expect("it can be").epoch.id();
    let refused = layout.clone().commit(node(5), first);
    assert_eq!(refused, Err(InvalidCommit::NotAMember { by: node(5) }));
    layout.wish(node(2), node(6), Change::Take(role(100)));
    assert_eq!(layout.commit(node(1), first), Err(InvalidCommit::Stale));
    (5..=6).for_each(|number| layout.wish(node(1), node(number), Change::Leave { forced: false }));
    assert_eq!(layout.staged().count(), 0, "neither ever had a role");
    (3..=4).for_each(|number| layout.wish(node(1), node(number), Change::Leave { forced: false }));
    assert!(matches!(layout.propose(), Err(InvalidCommit::Plan(_))), "two cannot hold three replicas");
    assert_eq!((layout.live().len(), members(&layout)), (1, vec![1, 2, 3, 4]));
}

#[test]
fn reverting_leaves_nothing_staged() {
    let mut layout = four();
    layout.wish(node(1), node(2), Change::Leave { forced: false });
    layout.wish(node(1), node(3), Change::Take(role(50)));
    layout.wish(node(1), node(5), Change::Take(role(100)));
    assert_eq!(layout.staged().count(), 3);
    layout.revert(node(4));
    assert_eq!(layout.staged().count(), 0);
}

#[test]
fn nobody_waits_for_a_node_that_was_removed_by_force() {
    let mut layout = four();
    join(&mut layout, 1, 5);
    layout.wish(node(1), node(4), Change::Leave { forced: true });
    let proposed = layout.propose().expect("it can be").epoch.id();
    layout.commit(node(1), proposed).expect("it was proposed just now");
    let numbers = |layout: &Layout| layout.waited_for().iter().map(|node| node.number()).collect::<Vec<_>>();
    assert_eq!(numbers(&layout), [1, 2, 3, 5]);
    for step in STEPS {
        assert_eq!(layout.live().len(), 3);
        [1, 2, 3, 5].into_iter().for_each(|number| step(&mut layout, node(number)));
    }
    assert_eq!((layout.live().len(), layout.last().number(), members(&layout)), (1, 3, vec![1, 2, 3, 5]));
}
