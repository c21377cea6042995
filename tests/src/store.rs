//! Looking into the store of a node that does not run.

use std::path::Path;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use quorate_node::storage::rocks::{RocksOptions, RocksStore};
use quorate_node::storage::{Column, Completion, Operation, OperationId, Scan, Storage};

use crate::wait;

/// Entries of one page.
const PAGE: usize = 1000;
const PAGE_BYTES: usize = 1 << 20;

/// How many objects a node has stored. Its process must have ended.
///
/// # Panics
/// If the store cannot be read.
pub fn count_objects(data: &Path) -> usize {
    entries(data, Column::Objects).len()
}

/// All entries of a column of a node's store, in order: keys and values, byte for byte. Its process must have ended.
///
/// # Panics
/// If the store cannot be read.
pub fn entries(data: &Path, column: Column) -> Vec<(Bytes, Bytes)> {
    let store = RocksStore::open(&data.join("store"), &RocksOptions::default()).expect("the node has stopped in order");
    let mut handle = store.handle(Arc::new(|| {}));
    let (mut all, mut from) = (Vec::new(), Bytes::new());
    loop {
        let (limit, bytes_max) = (PAGE, PAGE_BYTES);
        let infix = Bytes::new();
        let scan = Scan { column, from, until: None, infix, limit, bytes_max, beside: None };
        handle.submit(OperationId(0), Operation::Scan(scan));
        handle.flush();
        let (_, result) = wait::until("the store answers", wait::BOUND, || handle.poll_completion());
        let Completion::Scanned { entries, last, .. } = result.expect("the store can be read") else {
            panic!("a scan is answered by a page");
        };
        let next = entries.last().map(|(key, _)| behind(key));
        all.extend(entries);
        match next {
            Some(next) if !last => from = next,
            _ => return all,
        }
    }
}

fn behind(key: &Bytes) -> Bytes {
    let mut next = BytesMut::from(key.as_ref());
    next.put_u8(0);
    next.freeze()
}
