//! What waits for one key: reads first, then changes that are written as one.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;
use quorate_node::Time;
use quorate_node::coordinator::CoordinationId;
use quorate_node::limits::KEY_CHANGES_MAX;
use quorate_node::replica::{Asker, Event, KeyOperation, Replica, Report, SET_BACK};
use quorate_node::storage::{Change, Column, Completion, Operation, OperationId, StorageError};
use quorate_ring::version::{Actor, Container, Dot, NodeClock, VersionVector};
use quorate_ring::wire::{Durability, ExchangeId, ReplicaError};
use quorate_ring::{StoredValue, Value};

use crate::harness::{incarnation, key, node};
use crate::replica::{of_node_9, partition, replica};

use Durability::{Buffered, Synced};

/// A replica and its store, which does one thing at a time.
struct Machine {
    replica: Replica,
    store: BTreeMap<(Column, Bytes), Bytes>,
    submitted: VecDeque<(OperationId, Operation)>,
}

/// What a replica came to.
#[derive(Debug, PartialEq)]
struct Outcome {
    store: BTreeMap<(Column, Bytes), Bytes>,
    clock: NodeClock,
}

impl Machine {
    fn new() -> Self {
        Self { replica: replica(), store: BTreeMap::new(), submitted: VecDeque::new() }
    }

    fn ask(&mut self, operation: KeyOperation) {
        self.replica.handle_key(key("k"), operation);
    }

    /// What the store was asked and has not done.
    fn submitted(&mut self) -> &VecDeque<(OperationId, Operation)> {
        self.submitted.extend(std::iter::from_fn(|| self.replica.poll_operation()));
        &self.submitted
    }

    /// Has the store do the next thing; gives what the replica tells then, or nothing if there is nothing to do.
    fn step(&mut self) -> Option<Vec<Report>> {
        self.submitted();
        let (id, operation) = self.submitted.pop_front()?;
        let completion = match operation {
            Operation::Read { column, key } => Completion::Read(self.store.get(&(column, key)).cloned()),
            Operation::Write { batch, .. } => {
                batch.changes.into_iter().for_each(|change| self.apply(change));
                Completion::Written
            }
            other => panic!("{other:?}"),
        };
        Some(self.complete(id, Ok(completion)))
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Put { column, key, value } => _ = self.store.insert((column, key), value),
            Change::Delete { column, key } => _ = self.store.remove(&(column, key)),
            range @ Change::DeleteRange { .. } => panic!("{range:?}"),
        }
    }

    fn complete(&mut self, id: OperationId, result: Result<Completion, StorageError>) -> Vec<Report> {
        self.replica.handle_completion(Time::default(), id, result);
        std::iter::from_fn(|| self.replica.poll_report()).collect()
    }

    /// Has the store do all that there is.
    fn settle(&mut self) -> Vec<Report> {
        std::iter::from_fn(|| self.step()).flatten().collect()
    }

    fn outcome(self) -> Outcome {
        Outcome { clock: self.replica.clocks().live(partition()).clone(), store: self.store }
    }
}

fn read() -> KeyOperation {
    KeyOperation::Read { asker: Asker::Nobody, deadline: Time::from_micros(1) }
}

fn put(number: u64, context: &VersionVector, durability: Durability) -> KeyOperation {
    let event = Event::Put(Value::new(format!("put {number}")).expect("small"), None);
    let (coordination, deadline) = (CoordinationId(number), Time::from_micros(1));
    KeyOperation::Write { coordination, event, context: context.clone(), durability, deadline }
}

fn blind(number: u64) -> KeyOperation {
    put(number, &VersionVector::new(), Buffered)
}

/// What node 9 sends of one of its events, which knows all before it.
fn replicated(counter: u64, durability: Durability) -> KeyOperation {
    KeyOperation::Replicate {
        asker: Asker::Peer { node: node(9), exchange: ExchangeId(counter) },
        container: of_node_9(&[counter], counter),
        dot: Dot::new(Actor::new(node(9), incarnation(node(9))), counter),
        durability,
        deadline: Time::from_micros(1),
    }
}

/// Of what is told, the changes that are over, and how.
fn stored(reports: &[Report]) -> Vec<Result<(), ReplicaError>> {
    let results = reports.iter().filter_map(|report| match report {
        Report::Stored { result, .. } => Some(*result),
        _ => None,
    });
    results.collect()
}

/// How many changes each write makes that the store was asked for: each is an event, which the log of dots names.
fn changes_of_writes(machine: &mut Machine) -> Vec<usize> {
    let events =
        |operation: &Operation| operation.changes().iter().filter(|change| change.column() == Column::DotLog).count();
    machine.submitted().iter().map(|(_, operation)| events(operation)).collect()
}

#[test]
fn changes_that_wait_for_a_key_are_one_write_and_all_are_told_when_it_is_done() {
    let mut machine = Machine::new();
    (1..=3).for_each(|number| machine.ask(blind(number)));
    machine.ask(replicated(1, Buffered));
    let made = machine.step().expect("the key is read");
    assert_eq!((made.len(), stored(&made)), (3, Vec::new()), "three are made, none is stored: {made:?}");
    assert_eq!(changes_of_writes(&mut machine), [4]);
    assert_eq!(stored(&machine.settle()), [Ok(()); 4]);
    assert_eq!((machine.replica.waiting(), machine.replica.waiting_bytes()), (0, 0));
}

#[test]
fn a_read_overtakes_changes_and_shows_none_of_them() {
    let mut machine = Machine::new();
    machine.ask(blind(1));
    machine.ask(read());
    let reports = machine.step().expect("the key is read");
    let [Report::Read { result: Ok(found), .. }, Report::Made { .. }] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!(found.container, Container::empty());
    assert_eq!(changes_of_writes(&mut machine), [1]);
}

#[test]
fn what_must_be_synced_and_what_need_not_are_not_one_write() {
    let mut machine = Machine::new();
    [Buffered, Buffered, Synced, Buffered].into_iter().zip(1..).for_each(|(durability, number)| {
        machine.ask(put(number, &VersionVector::new(), durability));
    });
    let mut writes = Vec::new();
    while machine.step().is_some() {
        writes.extend(changes_of_writes(&mut machine));
    }
    assert_eq!(writes, [2, 1, 1]);
}

#[test]
fn a_write_takes_so_many_changes_and_the_others_wait_for_it() {
    let mut machine = Machine::new();
    (0..=KEY_CHANGES_MAX as u64).for_each(|number| machine.ask(blind(number)));
    machine.step().expect("the key is read");
    assert_eq!(changes_of_writes(&mut machine), [KEY_CHANGES_MAX]);
    assert_eq!(stored(&machine.step().expect("the write")).len(), KEY_CHANGES_MAX);
    assert_eq!(changes_of_writes(&mut machine), [1]);
}

#[test]
fn a_write_that_fails_is_told_to_all_whose_changes_are_in_it_and_to_those_who_wait() {
    let mut machine = Machine::new();
    (1..=2).for_each(|number| machine.ask(blind(number)));
    machine.step().expect("the key is read");
    (3..=4).for_each(|number| machine.ask(replicated(number, Buffered)));
    let (id, _) = *machine.submitted().front().expect("the write");
    let failed = machine.complete(id, Err(StorageError::Poisoned { reason: "a full disk".to_owned() }));
    assert_eq!(stored(&failed), [Err(ReplicaError::StorageFailed); 4]);
    assert_eq!((machine.replica.waiting(), machine.replica.waiting_bytes()), (0, 0));
}

#[test]
fn changes_before_one_that_shows_the_store_set_back_are_not_stored() {
    let mut machine = Machine::new();
    let actor = Actor::new(node(1), incarnation(node(1)));
    let unknown = Dot::new(actor, 7);
    let mut container: Container<StoredValue> = Container::empty();
    container.record(unknown);
    machine.ask(blind(1));
    let (asker, durability) = (Asker::Nobody, Buffered);
    machine.ask(KeyOperation::Merge { asker, container, dots: vec![unknown], durability });
    machine.ask(replicated(1, Buffered));
    let reports = machine.step().expect("the key is read");
    assert_eq!(stored(&reports), [Err(ReplicaError::StorageFailed); 3]);
    assert_eq!((machine.submitted().len(), machine.replica.poisoned()), (0, Some(SET_BACK)));
    assert_eq!((machine.replica.waiting(), machine.replica.waiting_bytes()), (0, 0));
}

/// What may happen to a key.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// A put that has seen what was read last, or nothing.
    Put {
        informed: bool,
        durability: Durability,
    },
    /// An event of another node comes, perhaps again, and perhaps before an earlier one.
    Replicate {
        counter: u64,
        durability: Durability,
    },
    Read,
    /// The store does the next thing.
    Step,
}

fn act() -> impl Strategy<Value = Act> {
    let durability = || prop_oneof![4 => Just(Buffered), 1 => Just(Synced)];
    prop_oneof![
        3 => (any::<bool>(), durability()).prop_map(|(informed, durability)| Act::Put { informed, durability }),
        2 => (1..6_u64, durability()).prop_map(|(counter, durability)| Act::Replicate { counter, durability }),
        2 => Just(Act::Read),
        2 => Just(Act::Step),
    ]
}

proptest! {
    /// Against a replica that is given the same changes one by one, each when the one before is stored.
    #[test]
    fn changes_come_to_what_they_would_one_by_one(acts in proptest::collection::vec(act(), 1..60)) {
        let (mut machine, mut alone) = (Machine::new(), Machine::new());
        let mut states = vec![Container::empty()];
        let (mut seen, mut changes, mut over) = (VersionVector::new(), 0, 0);
        let ending = std::iter::repeat_n(Act::Step, 200);
        for act in acts.into_iter().chain(ending) {
            let change = match act {
                Act::Put { informed, durability } => {
                    let context = if informed { seen.clone() } else { VersionVector::new() };
                    put(changes, &context, durability)
                }
                Act::Replicate { counter, durability } => replicated(counter, durability),
                Act::Read => {
                    machine.ask(read());
                    continue;
                }
                Act::Step => {
                    for report in machine.step().into_iter().flatten() {
                        match report {
                            Report::Stored { result, .. } => {
                                prop_assert_eq!(result, Ok(()));
                                over += 1;
                            }
                            Report::Read { result, .. } => {
                                let found = result.expect("it can be read").container;
                                prop_assert_eq!(&found, &states[over], "what was acknowledged, and nothing else");
                                seen = found.vector().clone();
                            }
                            Report::Made { .. } => {}
                            other => panic!("{other:?}"),
                        }
                    }
                    continue;
                }
            };
            changes += 1;
            machine.ask(change.clone());
            alone.ask(change);
            alone.settle();
            alone.ask(read());
            let state = alone.settle().into_iter().find_map(|report| match report {
                Report::Read { result, .. } => Some(result.expect("it can be read").container),
                _ => None,
            });
            states.push(state.expect("it is read"));
        }
        prop_assert_eq!((over + 1, machine.replica.waiting(), machine.replica.waiting_bytes()), (states.len(), 0, 0));
        prop_assert_eq!(machine.outcome(), alone.outcome());
    }
}
