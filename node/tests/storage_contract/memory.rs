//! What only the simulator's disk can do: syncs and failures on demand.

use bytes::Bytes;
use quorate_node::storage::memory::{MemoryStore, SyncPolicy};
use quorate_node::storage::{Batch, Column, Completion, Operation, OperationId, Storage, StorageError};
use quorate_ring::wire::Durability;

use crate::contract::a_poisoned_store_serves_nothing;

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
        store.submit(OperationId(id), Operation::Read { key: KEY });
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
