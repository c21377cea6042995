//! The same random operations bring the same answers from both engines, also across restarts and killed processes.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use quorate_node::storage::{Batch, Change, Column, Operation, Scan, Storage};
use quorate_ring::wire::Durability;

use crate::disk::RocksEngine;
use crate::engine::{Engine, MemoryEngine, key, turn, whole_of};

/// What happens to both engines.
#[derive(Clone, Debug)]
enum Step {
    Turn(Vec<Operation>),
    /// Every column is walked, for which the engine on a disk has to write out what it has of it elsewhere.
    Walk,
    Restart,
    ProcessCrash,
}

/// Few, so that they collide; some share a position, some a bucket.
const POSITIONS: u64 = 6;
const RESTS: [&str; 6] = ["", "a", "b:1", "b:2", "c:", "c: longer than any key of a clock or of the log of dots"];

fn keys() -> impl Strategy<Value = Bytes> {
    (0..POSITIONS, prop::sample::select(RESTS.to_vec())).prop_map(|(position, rest)| key(position, rest))
}

fn all_keys() -> Vec<Bytes> {
    (0..POSITIONS).flat_map(|position| RESTS.map(|rest| key(position, rest))).collect()
}

fn values() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn columns() -> impl Strategy<Value = Column> {
    prop::sample::select(Column::ALL.to_vec())
}

fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (columns(), keys(), values()).prop_map(|(column, key, value)| Change::Put { column, key, value }),
        2 => (columns(), keys()).prop_map(|(column, key)| Change::Delete { column, key }),
        1 => (columns(), keys(), keys()).prop_map(|(column, from, until)| Change::DeleteRange { column, from, until }),
    ]
}

fn batches() -> impl Strategy<Value = Batch> {
    vec(changes(), 0..8).prop_map(|changes| Batch { changes })
}

fn scans() -> impl Strategy<Value = Scan> {
    let infix = prop::sample::select(vec!["", "", "b:", "b:1", "x"]).prop_map(Bytes::from);
    let range = (columns(), keys(), prop::option::of(keys()), infix);
    (range, 0..12_usize, 0..200_usize, prop::option::of(keys())).prop_map(
        |((column, from, until, infix), limit, bytes_max, beside)| {
            let infix = if column == Column::Objects { infix } else { Bytes::new() };
            Scan { column, from, until, infix, limit, bytes_max, beside }
        },
    )
}

fn operations() -> impl Strategy<Value = Operation> {
    let durability = prop_oneof![4 => Just(Durability::Buffered), 1 => Just(Durability::Synced)];
    prop_oneof![
        4 => (batches(), durability).prop_map(|(batch, durability)| Operation::Write { batch, durability }),
        3 => (columns(), keys()).prop_map(|(column, key)| Operation::Read { column, key }),
        2 => (columns(), vec(keys(), 0..8)).prop_map(|(column, keys)| Operation::Lookup { column, keys }),
        2 => scans().prop_map(Operation::Scan),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => vec(operations(), 1..10).prop_map(Step::Turn),
        2 => Just(Step::Walk),
        1 => Just(Step::Restart),
        1 => Just(Step::ProcessCrash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_engines_bring_the_same_answers(steps in vec(steps(), 1..40)) {
        let (mut memory, mut rocks) = (MemoryEngine::empty(), RocksEngine::empty());
        for step in steps {
            match step {
                Step::Turn(operations) => {
                    prop_assert_eq!(turn(&mut memory, operations.clone()), turn(&mut rocks, operations));
                }
                Step::Walk => {
                    let everything: Vec<Operation> = Column::ALL.map(|column| Operation::Scan(whole_of(column))).into();
                    prop_assert_eq!(turn(&mut memory, everything.clone()), turn(&mut rocks, everything));
                }
                Step::Restart => (memory, rocks) = (memory.restart(), rocks.restart()),
                Step::ProcessCrash => (memory, rocks) = (memory.process_crash(), rocks.process_crash()),
            }
            let everything: Vec<Operation> =
                Column::ALL.map(|column| Operation::Lookup { column, keys: all_keys() }).into();
            prop_assert_eq!(turn(&mut memory, everything.clone()), turn(&mut rocks, everything));
            prop_assert_eq!(memory.store().recover(), rocks.store().recover());
        }
    }
}
