//! What only the simulator's disk can do: syncs and failures on demand.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_node::storage::memory::{MemoryStore, SyncPolicy};
use quorate_node::storage::{Batch, Column, Completion, Operation, OperationId, Owner, Scan, Storage, StorageError};
use quorate_ring::wire::Durability;

use crate::contract::a_poisoned_store_serves_nothing;
use crate::engine::whole_of;

const KEY: Bytes = Bytes::from_static(b"positionkey");

fn write(store: &mut MemoryStore, value: &'static str, durability: Durability) {
    let mut batch = Batch::default();
    batch.put(Column::Objects, KEY, Bytes::from(value));
    store.submit(OperationId(0), Operation::Write { batch, durability });
    store.flush();
}

fn written(store: &mut MemoryStore) -> bool {
    store.poll_completion() == Some((OperationId(0), Ok(Completion::Written)))
}

fn poisoned(store: &mut MemoryStore) -> bool {
    matches!(store.poll_completion(), Some((_, Err(StorageError::Poisoned { reason }))) if reason == "the disk is gone")
}

fn value(store: &MemoryStore) -> Option<&[u8]> {
    store.value(Column::Objects, &KEY).map(AsRef::as_ref)
}

#[test]
fn a_synced_write_completes_with_the_sync() {
    let mut store = MemoryStore::new(SyncPolicy::Explicit);
    write(&mut store, "1", Durability::Synced);
    assert_eq!((store.poll_completion(), store.awaiting_sync(), store.unsynced()), (None, 1, 1));
    store.sync();
    assert!(written(&mut store));
    assert_eq!((store.awaiting_sync(), store.unsynced(), store.syncs()), (0, 0, 1));
}

#[test]
fn an_infinitely_fast_disk_syncs_within_the_flush_and_only_for_synced_writes() {
    let mut store = MemoryStore::new(SyncPolicy::OnFlush);
    write(&mut store, "1", Durability::Buffered);
    assert!(written(&mut store));
    assert_eq!((store.unsynced(), store.syncs()), (1, 0));
    write(&mut store, "2", Durability::Synced);
    assert!(written(&mut store));
    assert_eq!((store.unsynced(), store.syncs()), (0, 1));
}

#[test]
fn a_crash_keeps_as_many_flushes_as_the_test_says() {
    let mut store = MemoryStore::new(SyncPolicy::Explicit);
    write(&mut store, "1", Durability::Buffered);
    write(&mut store, "2", Durability::Buffered);
    assert_eq!(value(&store.clone().crash(0)), None);
    assert_eq!(value(&store.clone().crash(1)), Some(&b"1"[..]));
    assert_eq!(value(&store.clone().crash(9)), Some(&b"2"[..]));
    let restarted = store.process_crash();
    assert_eq!((value(&restarted), restarted.unsynced()), (Some(&b"2"[..]), 2));
    assert_eq!(value(&restarted.crash(0)), None);
}

#[test]
fn a_failed_write_poisons_and_may_yet_be_found_after_a_crash() {
    let mut store = MemoryStore::new(SyncPolicy::OnFlush);
    write(&mut store, "1", Durability::Synced);
    assert!(written(&mut store));
    store.fail_next_write("the disk is gone");
    write(&mut store, "2", Durability::Synced);
    assert!(poisoned(&mut store));
    assert_eq!(store.poisoned(), Some("the disk is gone"));
    a_poisoned_store_serves_nothing(&mut store);
    assert_eq!(value(&store.clone().crash(0)), Some(&b"1"[..]));
    assert_eq!(value(&store.clone().crash(1)), Some(&b"2"[..]));
    assert_eq!(value(&store.process_crash()), Some(&b"2"[..]));
}

#[test]
fn a_failed_sync_fails_the_writes_that_waited_for_it() {
    let mut store = MemoryStore::new(SyncPolicy::Explicit);
    write(&mut store, "1", Durability::Synced);
    store.fail_next_sync("the disk is gone");
    store.sync();
    assert!(poisoned(&mut store));
    a_poisoned_store_serves_nothing(&mut store);
    store.sync();
    assert_eq!((store.syncs(), value(&store.crash(0))), (0, None));
}

#[test]
fn a_failed_read_is_the_only_one_that_fails() {
    let mut store = MemoryStore::new(SyncPolicy::OnFlush);
    write(&mut store, "1", Durability::Buffered);
    assert!(written(&mut store));
    store.fail_next_read("a bad sector");
    for id in [1, 2] {
        store.submit(OperationId(id), Operation::Read { column: Column::Objects, key: KEY });
    }
    store.flush();
    let failed = StorageError::Read { reason: "a bad sector".to_owned() };
    assert_eq!(store.poll_completion(), Some((OperationId(1), Err(failed))));
    assert_eq!(store.poll_completion(), Some((OperationId(2), Ok(Completion::Read(Some(Bytes::from("1")))))));
}

#[test]
fn the_fingerprint_is_of_what_is_held_and_tampering_shows_in_it() {
    let mut store = MemoryStore::new(SyncPolicy::Explicit);
    let empty = store.fingerprint();
    write(&mut store, "1", Durability::Buffered);
    let one = store.fingerprint();
    assert_ne!(empty, one);
    store.tamper(Column::Objects, &KEY, None);
    assert_eq!((store.fingerprint(), store.len(Column::Objects), store.is_empty()), (empty, 0, true));
    assert_eq!(store.clone().crash(1).fingerprint(), empty);
    write(&mut store, "1", Durability::Buffered);
    assert_eq!(store.crash(2).fingerprint(), one);
}

#[test]
fn a_wiped_store_holds_nothing() {
    let mut store = MemoryStore::new(SyncPolicy::Explicit);
    write(&mut store, "1", Durability::Synced);
    store.wipe();
    store.sync();
    assert_eq!((store.poll_completion(), store.is_empty(), store.crash(9).is_empty()), (None, true, true));
}

#[test]
fn an_entry_that_rots_is_unreadable_until_it_is_written_or_removed() {
    for column in Column::ALL {
        let mut store = MemoryStore::new(SyncPolicy::OnFlush);
        assert!(!store.rot(column, &KEY));
        let put = |store: &mut MemoryStore| change(store, |batch| batch.put(column, KEY, Bytes::from("1")));
        let removals: [fn(&mut Batch, Column); 2] = [
            |batch, column| batch.delete(column, KEY),
            |batch, column| batch.delete_range(column, Bytes::new(), Bytes::from("z")),
        ];
        for remove in removals {
            put(&mut store);
            assert!(store.rot(column, &KEY) && store.is_rotten(column, &KEY));
            assert_eq!(readable(&mut store), Column::ALL.map(|other| other != column));
            assert_eq!(store.recover().is_err(), column == Column::Metadata);
            let mut store = store.clone().crash(9);
            assert_eq!(readable(&mut store), Column::ALL.map(|other| other != column), "it stays so after a crash");
            change(&mut store, |batch| remove(batch, column));
            assert_eq!((readable(&mut store), store.recover().is_ok()), ([true; 4], true));
        }
        put(&mut store);
        assert_eq!(readable(&mut store), [true; 4]);
    }
}

#[test]
fn a_scan_fails_only_if_it_comes_to_what_is_rotten() {
    let mut store = MemoryStore::new(SyncPolicy::OnFlush);
    let key = |name: &'static str| Bytes::from_static(name.as_bytes());
    change(&mut store, |batch| ["a", "b", "c"].map(key).into_iter().for_each(|key| batch.put(Column::Hints, key, KEY)));
    assert!(store.rot(Column::Hints, &key("c")));
    let whole = || Scan { beside: None, ..whole_of(Column::Hints) };
    let mut fails = |scan| {
        store.submit(OperationId(0), Operation::Scan(scan));
        store.flush();
        store.poll_completion().is_some_and(|(_, outcome)| outcome.is_err())
    };
    assert!(fails(whole()));
    // Whether the page is the last one shows in the entry behind it.
    assert!(fails(Scan { limit: 2, ..whole() }));
    assert!(!fails(Scan { limit: 1, ..whole() }));
    assert!(!fails(Scan { until: Some(key("c")), ..whole() }));
    assert!(!fails(Scan { from: key("d"), ..whole() }));
}

fn change(store: &mut MemoryStore, how: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::default();
    how(&mut batch);
    store.submit(OperationId(0), Operation::Write { batch, durability: Durability::Synced });
    store.flush();
    assert!(written(store));
}

/// Of each column, whether the key can be read, looked up and scanned; all three or none.
fn readable(store: &mut MemoryStore) -> [bool; 4] {
    Column::ALL.map(|column| {
        let scan = Scan { beside: None, ..whole_of(column) };
        let keys = vec![Bytes::new(), KEY];
        store.submit(OperationId(0), Operation::Read { column, key: KEY });
        store.submit(OperationId(1), Operation::Lookup { column, keys });
        store.submit(OperationId(2), Operation::Scan(scan));
        store.flush();
        let readable: Vec<bool> =
            std::iter::from_fn(|| store.poll_completion()).map(|(_, outcome)| outcome.is_ok()).collect();
        assert!(readable == [true; 3] || readable == [false; 3], "{readable:?}");
        readable[0]
    })
}

#[test]
fn the_fingerprint_tells_the_columns_apart() {
    let of = |column| {
        let mut store = MemoryStore::new(SyncPolicy::OnFlush);
        store.tamper(column, &KEY, Some(Bytes::from("1")));
        assert_eq!((store.len(column), store.entries(column).count(), store.is_empty()), (1, 1, false));
        store.fingerprint()
    };
    let different: BTreeSet<u64> = Column::ALL.map(of).into();
    assert_eq!(different.len(), Column::ALL.len());
}

#[test]
fn an_operations_number_tells_whose_it_is() {
    for owner in [Owner::Replica, Owner::Hints, Owner::AntiEntropy, Owner::Scrub] {
        for number in [0, 1, (1 << 56) - 1] {
            assert_eq!(OperationId::new(owner, number).owner(), owner);
        }
    }
    assert_eq!(OperationId::new(Owner::Replica, 7), OperationId(7));
    assert_ne!(OperationId::new(Owner::Hints, 7), OperationId::new(Owner::Scrub, 7));
}
