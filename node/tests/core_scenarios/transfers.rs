//! Partitions that are received as a whole, page by page.

use std::collections::{BTreeMap, BTreeSet};

use quorate_node::Time;
use quorate_node::limits::EXCHANGE_INTERVAL;
use quorate_node::replica::{Asker, KeyOperation, Merging, Replica, Report};
use quorate_node::storage::Storage;
use quorate_node::storage::memory::{MemoryStore, SyncPolicy};
use quorate_ring::version::{Actor, Container, Dot, NodeClock, VersionVector};
use quorate_ring::wire::{Durability, PeerMessage, SyncMessage};
use quorate_ring::{ObjectKey, PartitionCount, PartitionId, Position, StoredValue, Value};

use super::anti_entropy::{KEYS, cut_off, reconnect, rot_logs, write};
use super::harness::{Cluster, Sent, incarnation, key, node};

const PAGE: u32 = 10;

/// A replica of one partition, and its store.
struct Receiver {
    replica: Replica,
    store: MemoryStore,
}

impl Receiver {
    fn new() -> Self {
        let (count, actor) = (partitions(), Actor::new(node(1), incarnation(node(1))));
        let held = BTreeSet::from([PARTITION]);
        let mut replica = Replica::new(actor, count, held, BTreeMap::new(), BTreeMap::new());
        replica.count_for_reads();
        Self { replica, store: MemoryStore::new(SyncPolicy::OnFlush) }
    }

    /// Has everything done that is to be; gives how many batches were written.
    fn settle(&mut self) -> usize {
        let mut writes = 0;
        while let Some((id, operation)) = self.replica.poll_operation() {
            writes += usize::from(!operation.changes().is_empty());
            self.store.submit(id, operation);
            self.store.flush();
            while let Some((id, result)) = self.store.poll_completion() {
                self.replica.handle_completion(Time::default(), id, result);
            }
        }
        writes
    }

    fn merge(&mut self, key: &ObjectKey, container: Container<StoredValue>) {
        let (asker, durability) = (Asker::Nobody, Durability::Buffered);
        self.replica.handle_key(key.clone(), KeyOperation::Merge { asker, container, dots: Vec::new(), durability });
    }

    /// The counters of the events whose values a key has.
    fn values(&mut self, key: &ObjectKey) -> Vec<u64> {
        let deadline = Time::from_micros(1);
        self.replica.handle_key(key.clone(), KeyOperation::Read { asker: Asker::Nobody, deadline });
        self.settle();
        let read = std::iter::from_fn(|| self.replica.poll_report()).find_map(|report| match report {
            Report::Read { result, .. } => Some(result.expect("it can be read").container),
            _ => None,
        });
        read.expect("the read is answered").values().map(|(dot, _)| dot.counter).collect()
    }
}

const PARTITION: PartitionId = PartitionId::new(0);

fn partitions() -> PartitionCount {
    PartitionCount::new(8).expect("a power of two")
}

/// Two keys of the partition, in ring order.
fn two_keys() -> [ObjectKey; 2] {
    let keys = (0..).map(|number: u32| key(&number.to_string()));
    let mut inside = keys.filter(|key| partitions().partition_of(Position::of(key)) == PARTITION);
    let mut two = [inside.next(), inside.next()].map(|key| key.expect("there are enough"));
    two.sort_by_key(Position::of);
    two
}

fn dot(counter: u64) -> Dot {
    Dot::new(Actor::new(node(2), incarnation(node(2))), counter)
}

/// What node 2's clock says when it has made so many events.
fn clock(events: u64) -> NodeClock {
    let mut clock = NodeClock::new();
    (1..=events).for_each(|counter| assert!(clock.add(dot(counter)), "each comes once"));
    clock
}

/// A value of an event, filled with the base of whoever sends it.
fn value(counter: u64, base: &VersionVector) -> Container<StoredValue> {
    let mut container = Container::empty();
    container.add(dot(counter), Value::new("v").expect("small").into());
    container.fill(base);
    container
}

#[test]
fn a_later_page_says_nothing_of_the_keys_of_an_earlier_one() {
    let [first, second] = two_keys();
    let mut receiver = Receiver::new();
    let replica = &mut receiver.replica;
    // The first page ends behind the first key, which did not exist then; it does when the second page is read.
    replica.note_arriving(PARTITION, Some(&first), VersionVector::new(), BTreeSet::new());
    replica.note_arriving(PARTITION, None, clock(2).base().clone(), BTreeSet::from([second]));
    receiver.merge(&first, value(2, &VersionVector::new()));
    receiver.settle();
    assert_eq!(receiver.values(&first), [2]);
}

#[test]
fn what_a_page_does_not_have_and_its_sender_knew_is_obsolete_when_it_comes_late() {
    let [first, second] = two_keys();
    let mut receiver = Receiver::new();
    receiver.replica.note_arriving(PARTITION, None, clock(2).base().clone(), BTreeSet::from([second.clone()]));
    receiver.merge(&first, value(1, &VersionVector::new()));
    receiver.merge(&second, value(2, &VersionVector::new()));
    receiver.settle();
    assert_eq!((receiver.values(&first), receiver.values(&second)), (vec![], vec![2]));
}

#[test]
fn a_page_and_the_clock_that_vouches_for_all_are_one_batch() {
    let keys = two_keys();
    let mut receiver = Receiver::new();
    let theirs = clock(2);
    let pair = |(key, counter): (&ObjectKey, u64)| Merging {
        key: key.clone(),
        theirs: value(counter, theirs.base()),
        stored: None,
    };
    let pairs = keys.iter().zip(1..).map(pair).collect();
    receiver.replica.note_arriving(PARTITION, None, theirs.base().clone(), keys.iter().cloned().collect());
    assert!(receiver.replica.merge_page(Asker::Nobody, PARTITION, pairs, Some(&theirs)));
    assert_eq!(receiver.settle(), 1);
    assert_eq!(receiver.replica.clocks().live(PARTITION), &theirs);
    assert_eq!(receiver.replica.unstripped(), 0, "the base that is stored beside them says all that they would");
    assert_eq!(keys.map(|key| receiver.values(&key)), [vec![1], vec![2]]);
}

#[test]
fn a_key_that_was_written_since_the_page_came_is_merged_with_what_is_there_now() {
    let [first, second] = two_keys();
    let mut receiver = Receiver::new();
    let theirs = clock(1);
    receiver.replica.note_arriving(PARTITION, None, theirs.base().clone(), BTreeSet::from([first.clone()]));
    // Nothing was stored when this replica read what it has; then another's write comes.
    let mut written = Container::empty();
    written.add(Dot::new(Actor::new(node(3), incarnation(node(3))), 7), Value::new("w").expect("small").into());
    receiver.merge(&first, written);
    receiver.settle();
    let of = |key: &ObjectKey, theirs| Merging { key: key.clone(), theirs, stored: None };
    let mut nothing = Container::empty();
    nothing.fill(theirs.base());
    let pairs = vec![of(&first, value(1, theirs.base())), of(&second, nothing)];
    assert!(!receiver.replica.merge_page(Asker::Nobody, PARTITION, pairs, Some(&theirs)), "that one is not stored yet");
    receiver.settle();
    assert_eq!(receiver.values(&first), [1, 7]);
}

#[test]
fn a_transfer_that_breaks_goes_on_behind_the_last_key_that_is_stored() {
    let (mut cluster, keys) = interrupted();
    cluster.pass(EXCHANGE_INTERVAL / 4);
    let asked = pages(&mut cluster, usize::MAX);
    let begun = asked.iter().filter(|after| after.is_none()).count();
    assert!(asked.first().is_some_and(Option::is_some), "it goes on");
    assert!(begun < partitions().get() as usize, "that partition is not begun again: {asked:?}");
    assert_eq!(cluster.machines[&node(3)].shard.counters().transfers_resumed, 1);
    cluster.silent.clear();
    (0..20).for_each(|_| cluster.pass(EXCHANGE_INTERVAL / 2));
    assert!(keys.iter().all(|key| cluster.stored(node(3), key) == 1));
}

#[test]
fn a_transfer_does_not_go_on_with_one_who_has_lost_what_it_had() {
    let (mut cluster, _) = interrupted();
    cluster.pass(EXCHANGE_INTERVAL / 4);
    let asked = pages(&mut cluster, 1);
    assert!(matches!(asked[..], [Some(_)]), "it would go on");
    let Sent { to, message, .. } = cluster.sent.front_mut().expect("the page");
    let PeerMessage::Sync(SyncMessage::Transferred { page: Ok(page), .. }) = message else { panic!("{message:?}") };
    assert_eq!(*to, node(3));
    page.clock = NodeClock::new();
    let asked = pages(&mut cluster, 1);
    assert!(matches!(asked[..], [None]), "it begins again");
}

/// Three nodes of which the third receives whole partitions, in small pages, and has the second page of the first when its connections break.
fn interrupted() -> (Cluster, Vec<ObjectKey>) {
    let mut cluster = Cluster::with(3, |config| config.transfer_page = PAGE);
    cut_off(&mut cluster);
    let keys = write(&mut cluster, KEYS);
    rot_logs(&mut cluster);
    reconnect(&mut cluster);
    cluster.silent = (1..=3).map(node).collect();
    cluster.pass(quorate_node::limits::EXCHANGE_DELAY);
    let asked = pages(&mut cluster, 3);
    assert!(asked[1].is_some() && asked[2].is_some(), "{asked:?}");
    cluster.sent.clear();
    cut_off(&mut cluster);
    cluster.sent.clear();
    reconnect(&mut cluster);
    cluster.pass(quorate_node::limits::EXCHANGE_DELAY);
    (cluster, keys)
}

/// Delivers messages one by one until so many pages were asked for, and answered, or nothing is under way: gives behind which keys.
fn pages(cluster: &mut Cluster, count: usize) -> Vec<Option<ObjectKey>> {
    let mut asked = Vec::new();
    loop {
        (0..4).for_each(|_| cluster.settle_stores());
        let answers = |sent: &Sent| matches!(&sent.message, PeerMessage::Sync(SyncMessage::Transferred { .. }));
        if count <= asked.len()
            && let Some(answer) = cluster.sent.iter().position(answers)
        {
            let answer = cluster.sent.remove(answer).expect("it was found");
            cluster.sent.push_front(answer);
            return asked;
        }
        let Some(Sent { from, to, message }) = cluster.sent.pop_front() else { return asked };
        if let PeerMessage::Sync(SyncMessage::Transfer { after, .. }) = &message {
            asked.push(after.clone());
        }
        cluster.input(to, quorate_node::Input::PeerMessage { from, message });
    }
}
