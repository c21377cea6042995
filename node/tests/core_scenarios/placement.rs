//! One epoch follows another while requests go on: nodes join, leave and are removed by force.

use std::time::Duration;

use quorate_node::storage::Column;
use quorate_ring::layout::{Change, Layout, Role};
use quorate_ring::version::{Actor, Container, Dot, Incarnation};
use quorate_ring::wire::{
    Durability, ExchangeId, LayoutChange, LayoutMessage, PeerMessage, ReplicaError, Request, RequestError, Response,
};
use quorate_ring::{Capacity, NodeId, ObjectKey, PartitionCount};

use crate::harness::{Cluster, Sent, key, node};

/// Nodes of which some are members.
struct Elastic {
    cluster: Cluster,
    /// Of whom nobody hears anything.
    dead: Vec<NodeId>,
}

fn role() -> Role {
    Role { address: "somewhere:1".to_owned(), zone: None, capacity: Capacity::default() }
}

impl Elastic {
    /// So many nodes, of which the first are members.
    fn new(nodes: u32, members: u32) -> Self {
        let partitions = PartitionCount::new(8).expect("a power of two");
        let roles = (1..=members).map(|number| (node(number), role())).collect();
        let layout = Layout::new(partitions, 3, roles).expect("a ring");
        let mut cluster = Cluster::with_layout(nodes, &layout);
        cluster.connect_all();
        Self { cluster, dead: Vec::new() }
    }

    fn living(&self) -> Vec<NodeId> {
        self.cluster.machines.keys().filter(|node| !self.dead.contains(node)).copied().collect()
    }

    fn layout(&self, at: NodeId) -> &Layout {
        self.cluster.machines[&at].shard.layout().expect("every node keeps one")
    }

    fn change(&mut self, at: u32, change: LayoutChange) -> Result<Layout, RequestError> {
        match self.cluster.ask(node(at), Request::ChangeLayout(change))? {
            Response::Layout(layout) => Ok(*layout),
            other => panic!("a change was answered {other:?}"),
        }
    }

    /// Stages these changes at a node, and commits them there.
    fn commit(&mut self, at: u32, changes: impl IntoIterator<Item = (u32, Change)>) {
        for (number, change) in changes {
            self.change(at, LayoutChange::Wish { node: node(number), change }).expect("staged");
        }
        let epoch = self.layout(node(at)).propose().expect("a ring").epoch.id();
        self.change(at, LayoutChange::Commit { epoch }).expect("it was proposed just now");
    }

    /// Goes on until all know that one epoch is live, and says at each second what is to be done.
    fn finish(&mut self, mut meanwhile: impl FnMut(&mut Self, usize)) {
        for second in 0..60 {
            meanwhile(self, second);
            self.cluster.pass(Duration::from_secs(1));
            let living = self.living();
            let first = self.layout(living[0]).clone();
            if living.iter().all(|at| self.layout(*at).live().len() == 1 && *self.layout(*at) == first) {
                self.cluster.ring = first.last().ring.clone();
                return;
            }
        }
        let progress = self.living().into_iter().map(|at| {
            let (layout, replica) = (self.layout(at), self.cluster.machines[&at].shard.replica());
            let (epoch, progress) = (layout.last().id(), layout.progress_of(at));
            let [acknowledged, synced] = [progress.acknowledged == epoch, progress.synced == epoch];
            let (live, behind) = (layout.live().len(), replica.behind().collect::<Vec<_>>());
            format!("{at}: {live} live, acknowledged {acknowledged}, synced {synced}, lacks {behind:?}")
        });
        panic!("no end in sight: {:#?}", progress.collect::<Vec<_>>());
    }

    /// Every key shows its value at all who hold it, and nobody else stores anything.
    fn check(&mut self, keys: impl Iterator<Item = (ObjectKey, String)>) {
        self.cluster.pass(Duration::from_secs(5));
        for (key, value) in keys {
            let holders = self.cluster.primaries(&key);
            for at in holders.iter().filter(|at| !self.dead.contains(at)) {
                let (values, _) = self.cluster.get(*at, &key, Some(1));
                assert_eq!(values, std::slice::from_ref(&value), "{key:?} at {at}");
            }
            for (at, machine) in self.cluster.machines.iter().filter(|(at, _)| !self.dead.contains(at)) {
                let place = quorate_node::replica::layout::object(&key);
                let stored = machine.store.value(Column::Objects, &place).is_some();
                assert_eq!(stored, holders.contains(at), "{key:?} at {at}");
            }
        }
        for (at, machine) in self.cluster.machines.iter().filter(|(at, _)| !self.dead.contains(at)) {
            assert!(machine.shard.replica().is_complete(), "{at} has all");
        }
    }
}

fn named(number: usize) -> (ObjectKey, String) {
    (key(&format!("key {number}")), format!("value {number}"))
}

/// Writes keys, each at another node.
fn write(elastic: &mut Elastic, numbers: impl Iterator<Item = usize>) {
    for number in numbers {
        let (key, value) = named(number);
        let at = node(1 + number as u32 % 3);
        elastic.cluster.put(at, &key, &value, None).expect("a quorum in each epoch");
    }
}

#[test]
fn a_node_joins_while_writes_go_on_and_has_all_that_it_is_to_hold() {
    let mut elastic = Elastic::new(5, 4);
    write(&mut elastic, 0..100);
    elastic.commit(1, [(5, Change::Take(role()))]);
    assert_eq!(elastic.layout(node(1)).live().len(), 2);
    elastic.finish(|elastic, second| write(elastic, 100 + 10 * second..110 + 10 * second));
    elastic.check((0..110).map(named));
    assert!(0 < elastic.cluster.ring.partitions_of(node(5)).count());
}

#[test]
fn a_node_leaves_while_writes_go_on_and_keeps_nothing() {
    let mut elastic = Elastic::new(5, 5);
    write(&mut elastic, 0..100);
    elastic.commit(1, [(5, Change::Leave { forced: false })]);
    elastic.finish(|elastic, second| write(elastic, 100 + 10 * second..110 + 10 * second));
    elastic.check((0..110).map(named));
    assert!(elastic.cluster.machines[&node(5)].store.entries(Column::Objects).next().is_none());
}

#[test]
fn a_dead_node_is_replaced() {
    let mut elastic = Elastic::new(5, 4);
    write(&mut elastic, 0..50);
    (1..=5).filter(|number| *number != 4).for_each(|number| elastic.cluster.disconnect(node(number), node(4)));
    elastic.dead.push(node(4));
    write(&mut elastic, 50..100);
    elastic.commit(1, [(4, Change::Leave { forced: true }), (5, Change::Take(role()))]);
    elastic.finish(|elastic, second| write(elastic, 100 + 10 * second..110 + 10 * second));
    elastic.check((0..110).map(named));
}

#[test]
fn a_node_that_leaves_and_comes_back_numbers_no_event_twice() {
    let mut elastic = Elastic::new(5, 5);
    write(&mut elastic, 0..60);
    for round in 1..=3 {
        elastic.commit(1, [(5, Change::Leave { forced: false })]);
        elastic.finish(|_, _| {});
        write(&mut elastic, 60 * round..60 * round + 30);
        elastic.commit(1, [(5, Change::Take(role()))]);
        elastic.finish(|_, _| {});
        write(&mut elastic, 60 * round + 30..60 * round + 60);
        // Those that it coordinates, too.
        for number in 300 * round..300 * round + 30 {
            let (key, value) = named(number);
            elastic.cluster.put(node(5), &key, &value, None).expect("a quorum");
        }
    }
    elastic.check((0..240).chain((1..=3).flat_map(|round| 300 * round..300 * round + 30)).map(named));
}

#[test]
fn two_commit_on_both_sides_of_a_split_and_one_outcome_is_left() {
    let mut elastic = Elastic::new(6, 4);
    write(&mut elastic, 0..60);
    let sides = [[1, 2, 5], [3, 4, 6]];
    for one in sides[0] {
        sides[1].iter().for_each(|other| elastic.cluster.disconnect(node(one), node(*other)));
    }
    elastic.commit(1, [(5, Change::Take(role()))]);
    elastic.commit(3, [(6, Change::Take(role()))]);
    elastic.cluster.pass(Duration::from_secs(5));
    let last = [1, 3].map(|number| elastic.layout(node(number)).last().id());
    assert_ne!(last[0], last[1]);
    for one in sides[0] {
        sides[1].iter().for_each(|other| elastic.cluster.connect(node(one), node(*other)));
    }
    elastic.finish(|elastic, second| write(elastic, 60 + 10 * second..70 + 10 * second));
    elastic.check((0..70).map(named));
    let layout = elastic.layout(node(2)).clone();
    assert_eq!(layout.last().id(), last[0].max(last[1]), "the same outcome, whoever finds out");
    // What the other side wished is staged again.
    let staged: Vec<NodeId> = layout.staged().map(|(node, _)| node).collect();
    assert_eq!(staged, [if last[0] < last[1] { node(5) } else { node(6) }]);
    let epoch = layout.propose().expect("a ring").epoch.id();
    elastic.change(2, LayoutChange::Commit { epoch }).expect("it is as it was looked at");
    elastic.finish(|_, _| {});
    elastic.check((0..70).map(named));
}

#[test]
fn a_stale_commit_and_one_of_nothing_are_refused() {
    let mut elastic = Elastic::new(6, 4);
    let refused = |answer: Result<Layout, RequestError>| answer.expect_err("refused").to_string();
    let epoch = elastic.layout(node(1)).last().id();
    let nothing = elastic.change(1, LayoutChange::Commit { epoch });
    assert!(refused(nothing).contains("nothing is staged"));
    elastic.change(1, LayoutChange::Wish { node: node(5), change: Change::Take(role()) }).expect("staged");
    let proposed = elastic.layout(node(1)).propose().expect("a ring").epoch.id();
    elastic.change(1, LayoutChange::Wish { node: node(6), change: Change::Take(role()) }).expect("staged");
    assert!(refused(elastic.change(1, LayoutChange::Commit { epoch: proposed })).contains("look at the new plan"));
    elastic.cluster.pass(Duration::from_secs(3));
    assert!(refused(elastic.change(5, LayoutChange::Commit { epoch: proposed })).contains("takes no part"));
    elastic.change(2, LayoutChange::Revert).expect("staged");
    assert_eq!(elastic.layout(node(2)).staged().count(), 0);
}

#[test]
fn writes_by_an_epoch_that_is_over_are_not_taken() {
    let mut elastic = Elastic::new(5, 5);
    elastic.commit(1, [(5, Change::Leave { forced: false })]);
    elastic.finish(|_, _| {});
    let (key, _) = named(1);
    let holders = elastic.cluster.primaries(&key);
    let from = (1..=5).map(node).find(|node| !holders.contains(node)).expect("three of five hold it");
    let container = {
        let mut container = Container::empty();
        container.record(Dot::new(Actor::new(from, Incarnation::new(77)), 1));
        container
    };
    let dot = Dot::new(Actor::new(from, Incarnation::new(77)), 1);
    let replicate = |elastic: &mut Elastic, last| {
        elastic.cluster.tell(from, holders[0], PeerMessage::Layout(LayoutMessage::Digest { hash: 0, last }));
        let message = PeerMessage::Replicate {
            exchange: ExchangeId(7),
            timeout_millis: 1_000,
            key: key.clone(),
            dot,
            container: container.clone(),
            durability: Durability::Buffered,
            hint_for: None,
        };
        elastic.cluster.tell(from, holders[0], message);
        (0..3).for_each(|_| elastic.cluster.settle_stores());
        let is_answer = |sent: &Sent| sent.from == holders[0] && sent.to == from;
        let answer = elastic.cluster.sent.iter().filter(|sent| is_answer(sent)).find_map(|sent| match &sent.message {
            PeerMessage::ReplicateReply { result, .. } => Some(*result),
            _ => None,
        });
        elastic.cluster.sent.clear();
        answer.expect("answered")
    };
    // Its founding epoch is all that it knows, as of one whose disk was emptied; it has to hear of the second one first.
    assert_eq!(replicate(&mut elastic, 1), Err(ReplicaError::NotResponsible));
    assert_eq!(replicate(&mut elastic, 2), Ok(()));
}

#[test]
fn whoever_changes_the_layout_of_a_node_whose_store_failed_is_told() {
    let mut elastic = Elastic::new(4, 4);
    elastic.cluster.machines.get_mut(&node(1)).expect("a node").store.fail_next_write("broken");
    for _ in 0..2 {
        let changed = elastic.change(1, LayoutChange::Wish { node: node(5), change: Change::Take(role()) });
        assert!(matches!(changed, Err(RequestError::StorageFailed { .. })), "{changed:?}");
    }
    assert!(elastic.layout(node(2)).wished(node(5)).is_none(), "what is not stored is not told");
}
