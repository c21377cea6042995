//! The claims of the contract, for any engine.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_node::storage::{Batch, Column, Completion, Operation, Scan, Storage, StorageError};
use quorate_ring::wire::Durability;

use crate::engine::{Engine, Scanned, key, number, outcomes, read, scan, scanned, submit, turn, whole, write};

fn put(key: &Bytes, value: &Bytes) -> Batch {
    let mut batch = Batch::default();
    batch.put(Column::Objects, key.clone(), value.clone());
    batch
}

fn buffered(batch: Batch) -> Operation {
    Operation::Write { batch, durability: Durability::Buffered }
}

fn synced(batch: Batch) -> Operation {
    Operation::Write { batch, durability: Durability::Synced }
}

pub(crate) fn nothing_is_written_before_the_flush<E: Engine>() {
    let mut engine = E::empty();
    submit(&mut engine, vec![buffered(put(&key(1, "a"), &number(1)))]);
    assert_eq!(engine.store().poll_completion(), None);
    let mut engine = engine.process_crash();
    assert_eq!(read(&mut engine, &key(1, "a")), None);
}

pub(crate) fn a_read_sees_the_writes_before_it<E: Engine>() {
    let mut engine = E::empty();
    let a = key(1, "a");
    let in_one_turn = turn(
        &mut engine,
        vec![
            buffered(put(&a, &number(1))),
            Operation::Read { column: Column::Objects, key: a.clone() },
            Operation::Scan(whole()),
        ],
    );
    assert_eq!(in_one_turn[1], Ok(Completion::Read(Some(number(1)))));
    assert_eq!(scanned(in_one_turn[2].clone()).entries, [(a.clone(), number(1))]);
    write(&mut engine, put(&a, &number(2)), Durability::Buffered);
    assert_eq!(read(&mut engine, &a), Some(number(2)));
    let mut batch = Batch::default();
    batch.delete(Column::Objects, a.clone());
    write(&mut engine, batch, Durability::Buffered);
    assert_eq!(read(&mut engine, &a), None);
}

pub(crate) fn what_is_read_again_and_again_is_as_it_was_written_last<E: Engine>() {
    let mut engine = E::empty();
    let keys: Vec<Bytes> = (1..4).map(|position| key(position, "a")).collect();
    let removals: [fn(&mut Batch, &Bytes); 2] = [
        |batch, key| batch.delete(Column::Objects, key.clone()),
        |batch, _| batch.delete_range(Column::Objects, key(1, ""), key(4, "")),
    ];
    for (round, removal) in removals.into_iter().cycle().take(6).enumerate() {
        for version in [2 * round, 2 * round + 1] {
            for key in &keys {
                write(&mut engine, put(key, &number(version)), Durability::Buffered);
            }
            for key in keys.iter().cycle().take(12) {
                assert_eq!(read(&mut engine, key), Some(number(version)));
            }
        }
        let mut batch = Batch::default();
        keys.iter().for_each(|key| removal(&mut batch, key));
        write(&mut engine, batch, Durability::Buffered);
        for key in keys.iter().cycle().take(12) {
            assert_eq!(read(&mut engine, key), None);
        }
    }
}

pub(crate) fn changes_of_one_turn_apply_in_their_order<E: Engine>() {
    let mut engine = E::empty();
    let (a, b) = (key(1, "a"), key(1, "b"));
    let mut first = put(&a, &number(1));
    first.delete(Column::Objects, a.clone());
    first.delete(Column::Objects, b.clone());
    first.put(Column::Objects, b.clone(), number(1));
    turn(&mut engine, vec![buffered(first), buffered(put(&b, &number(2)))]);
    assert_eq!(scan(&mut engine, whole()).entries, [(b, number(2))]);
}

pub(crate) fn a_process_crash_keeps_all_that_was_flushed<E: Engine>() {
    let mut engine = E::empty();
    for turn in 1..=5 {
        write(&mut engine, numbered_turn(turn), Durability::Buffered);
    }
    submit(&mut engine, vec![buffered(numbered_turn(6))]);
    let mut engine = engine.process_crash();
    assert_eq!(turns_found(&mut engine), 5);
    write(&mut engine, numbered_turn(6), Durability::Buffered);
    assert_eq!(turns_found(&mut engine.process_crash()), 6);
}

pub(crate) fn a_clean_stop_keeps_everything<E: Engine>() {
    let mut engine = E::empty();
    for turn in 1..=5 {
        write(&mut engine, numbered_turn(turn), Durability::Buffered);
        engine = engine.restart();
    }
    let lost_power = engine.power_losses();
    assert!(!lost_power.is_empty());
    for mut engine in lost_power {
        assert_eq!(turns_found(&mut engine), 5);
    }
}

pub(crate) fn a_power_loss_keeps_whole_turns_and_a_prefix_of_them<E: Engine>() {
    let mut engine = E::empty();
    for turn in 1..=12 {
        write(&mut engine, numbered_turn(turn), Durability::Buffered);
    }
    let found: BTreeSet<usize> = engine.power_losses().iter_mut().map(turns_found).collect();
    // Otherwise the losses were not spread, and this has tested less than it says.
    assert_eq!(found, (0..=12).collect());
}

pub(crate) fn a_completed_synced_write_makes_all_before_it_durable<E: Engine>() {
    let mut engine = E::empty();
    write(&mut engine, numbered_turn(1), Durability::Buffered);
    turn(&mut engine, vec![buffered(numbered_turn(2)), synced(numbered_turn(3))]);
    engine.note_all_synced();
    write(&mut engine, numbered_turn(4), Durability::Buffered);
    write(&mut engine, numbered_turn(5), Durability::Buffered);
    let found: BTreeSet<usize> = engine.power_losses().iter_mut().map(turns_found).collect();
    assert_eq!(found, [3, 4, 5].into());
}

pub(crate) fn a_synced_write_without_changes_is_a_barrier<E: Engine>() {
    let mut engine = E::empty();
    write(&mut engine, numbered_turn(1), Durability::Buffered);
    write(&mut engine, numbered_turn(2), Durability::Buffered);
    write(&mut engine, Batch::default(), Durability::Synced);
    engine.note_all_synced();
    let mut losses = engine.power_losses();
    assert!(losses.iter_mut().all(|engine| turns_found(engine) == 2));
}

pub(crate) fn a_scan_is_ordered_and_bounded_by_its_range<E: Engine>() {
    let mut engine = E::empty();
    let keys = [key(1, "z"), key(2, "a"), key(2, "b"), key(3, ""), key(u64::MAX, "")];
    let mut batch = Batch::default();
    for key in keys.iter().rev() {
        batch.put(Column::Objects, key.clone(), number(0));
        batch.put(Column::DotLog, key.clone(), number(1));
    }
    write(&mut engine, batch, Durability::Buffered);
    let mut keys_in = |from: Bytes, until: Option<Bytes>| {
        let Scanned { entries, last, .. } = scan(&mut engine, Scan { from, until, ..whole() });
        assert!(last);
        entries.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(keys_in(Bytes::new(), None), keys);
    assert_eq!(keys_in(key(2, ""), Some(key(3, ""))), keys[1..3]);
    assert_eq!(keys_in(key(2, "b"), None), keys[2..]);
    assert_eq!(keys_in(key(2, "c"), Some(key(3, ""))), Vec::<Bytes>::new());
    assert_eq!(keys_in(key(3, ""), Some(key(2, ""))), Vec::<Bytes>::new());
}

pub(crate) fn a_scan_takes_only_keys_with_its_infix<E: Engine>() {
    let mut engine = E::empty();
    let mut batch = Batch::default();
    let wanted = [key(1, "cart:1"), key(3, "cart:"), key(3, "cart:2")];
    let others = [key(1, "car"), key(2, "photo"), key(3, "carts"), key(4, ""), Bytes::from_static(b"cart:")];
    for key in wanted.iter().chain(&others) {
        batch.put(Column::Objects, key.clone(), number(0));
    }
    write(&mut engine, batch, Durability::Buffered);
    let infix = Bytes::from_static(b"cart:");
    let page = scan(&mut engine, Scan { infix: infix.clone(), ..whole() });
    assert_eq!(page.entries.iter().map(|(key, _)| key).collect::<Vec<_>>(), wanted.iter().collect::<Vec<_>>());
    // The entries behind the third are none of the bucket's.
    assert!(scan(&mut engine, Scan { infix: infix.clone(), limit: 3, ..whole() }).last);
    assert!(!scan(&mut engine, Scan { infix, limit: 2, ..whole() }).last);
}

pub(crate) fn a_scan_ends_at_its_limits_and_tells_whether_it_is_the_last<E: Engine>() {
    let mut engine = E::empty();
    let mut batch = Batch::default();
    for position in 0..5 {
        // Nine bytes of key and one of value.
        batch.put(Column::Objects, key(position, "k"), number(7));
    }
    write(&mut engine, batch, Durability::Buffered);
    let mut page = |limit, bytes_max| {
        let Scanned { entries, last, .. } = scan(&mut engine, Scan { limit, bytes_max, ..whole() });
        (entries.len(), last)
    };
    assert_eq!(page(4, 1000), (4, false));
    assert_eq!(page(5, 1000), (5, true));
    assert_eq!(page(6, 1000), (5, true));
    assert_eq!(page(6, 1), (1, false));
    assert_eq!(page(6, 0), (1, false));
    assert_eq!(page(6, 30), (3, false));
    assert_eq!(page(6, 31), (4, false));
    assert_eq!(page(6, 41), (5, true));
}

pub(crate) fn pages_that_follow_each_other_bring_every_entry_once<E: Engine>() {
    let mut engine = E::empty();
    let mut batch = Batch::default();
    let keys: Vec<Bytes> = (0..100).map(|n| key(n / 3, &format!("k{n:03}"))).collect();
    for key in &keys {
        batch.put(Column::Objects, key.clone(), number(0));
    }
    write(&mut engine, batch, Durability::Buffered);
    let (mut found, mut from) = (Vec::new(), Bytes::new());
    loop {
        let page = scan(&mut engine, Scan { from, limit: 7, ..whole() });
        found.extend(page.entries.into_iter().map(|(key, _)| key));
        if page.last {
            break;
        }
        // The least key that is greater than the last one.
        from = [found.last().expect("a page that is not the last has entries"), &[0][..]].concat().into();
    }
    assert_eq!(found, keys);
}

pub(crate) fn a_scan_is_one_snapshot_with_the_record_beside_it<E: Engine>() {
    let mut engine = E::empty();
    for round in 0..50 {
        let mut operations: Vec<Operation> = (0..3).map(|_| buffered(all_versioned(round))).collect();
        operations.push(Operation::Scan(whole()));
        submit(&mut engine, operations);
        engine.store().flush();
        // Goes on writing while the scan runs, wherever it runs.
        for later in 1..=3 {
            engine.store().submit(quorate_node::storage::OperationId(100 + later), buffered(all_versioned(round)));
            engine.store().flush();
        }
        let page = scanned(outcomes(&mut engine, 7).swap_remove(3));
        let clock = page.beside.expect("it was written");
        assert_eq!(page.entries.len(), 40);
        assert!(page.entries.iter().all(|(_, value)| *value == clock), "round {round}");
    }
}

pub(crate) fn recovery_brings_the_metadata_in_order<E: Engine>() {
    let mut engine = E::empty();
    let mut batch = put(&key(1, "not metadata"), &number(0));
    for name in ["b", "a", "c", "aa", ""] {
        batch.put(Column::Metadata, Bytes::from(name), number(name.len()));
    }
    batch.delete(Column::Metadata, Bytes::from("c"));
    write(&mut engine, batch, Durability::Buffered);
    let recovered = engine.restart().store().recover();
    let expected = ["", "a", "aa", "b"].map(|name| (Bytes::from(name), number(name.len())));
    assert_eq!(recovered, Ok(expected.to_vec()));
}

/// Not of every engine alike how a disk is made to fail, but what follows.
pub(crate) fn a_poisoned_store_serves_nothing<S: Storage>(store: &mut S) {
    let column = Column::Objects;
    let operations = [
        buffered(numbered_turn(1)),
        Operation::Read { column, key: key(1, "a") },
        Operation::Lookup { column, keys: vec![key(1, "a")] },
        Operation::Scan(whole()),
    ];
    for (id, operation) in (0..).map(quorate_node::storage::OperationId).zip(operations) {
        store.submit(id, operation);
        store.flush();
        let (completed, outcome) = store.poll_completion().expect("a poisoned store answers at once");
        assert_eq!(completed, id);
        assert!(matches!(outcome, Err(StorageError::Poisoned { .. })), "{outcome:?}");
    }
}

/// Changes of all columns: adds an entry, removes the one before it and counts the turns, so that a part of it shows.
fn numbered_turn(turn: usize) -> Batch {
    let mut batch = put(&key(turn as u64, "new"), &number(turn));
    batch.put(Column::DotLog, number(turn), key(turn as u64, "new"));
    batch.put(Column::Objects, key(0, "latest"), number(turn));
    batch.delete(Column::Objects, key(turn as u64 - 1, "new"));
    batch.put(Column::Metadata, Bytes::from_static(b"turns"), number(turn));
    batch
}

/// How many of the numbered turns the store holds, having checked that it holds each of them as a whole.
fn turns_found<E: Engine>(engine: &mut E) -> usize {
    let metadata: BTreeMap<Bytes, Bytes> = engine.store().recover().expect("it opens").into_iter().collect();
    let turns = metadata
        .get(&b"turns"[..])
        .map_or(0, |turns| std::str::from_utf8(turns).expect("written as words").parse().expect("written as a number"));
    let expected = match turns {
        0 => Vec::new(),
        turns => vec![(key(0, "latest"), number(turns)), (key(turns as u64, "new"), number(turns))],
    };
    assert_eq!(scan(engine, whole()).entries, expected, "turn {turns} is there in part");
    turns
}

/// Sets forty objects and the record beside them to the next version, which differs from call to call.
fn all_versioned(round: usize) -> Batch {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static VERSION: AtomicUsize = AtomicUsize::new(0);
    let version = number(VERSION.fetch_add(1, Ordering::Relaxed) * 1000 + round);
    let mut batch = Batch::default();
    for position in 0..40 {
        batch.put(Column::Objects, key(position, "k"), version.clone());
    }
    batch.put(Column::Metadata, Bytes::from_static(b"clock"), version);
    batch
}
