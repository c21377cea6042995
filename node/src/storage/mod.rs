//! Persistence behind a small completion-based interface, with two engines under one contract suite: [`memory`], whose crashes
//! the simulator decides, and RocksDB behind the feature `runtime`.
//!
//! ```text
//! submit(id, operation) ...  flush()  ->  poll_completion() -> (id, outcome) ...
//! ```
//!
//! The contract, which the suite checks on both engines:
//!
//! 1. A [`Batch`] is atomic: after any crash all of it is there or nothing.
//! 2. Writes take effect in the order of submission, and a crash keeps a prefix of that order; never a later write without an
//!    earlier one of the same handle.
//! 3. A read or scan sees every write submitted before it on the same handle, and it may see some submitted after it: a
//!    turn writes before it reads, and a read that has to wait for the disk may meet a later turn's writes. A scan is one
//!    consistent snapshot, of objects and of the [`Scan::beside`] record alike.
//! 4. A write completes when it is where its [`Durability`] says: `Buffered` survives the process, `Synced` the machine. With
//!    rule 2, a completed `Synced` write says the same of all earlier writes of the handle; one without changes is a barrier.
//! 5. After a write or sync that failed the store is poisoned: every later operation fails, nothing is guessed.
//! 6. Nothing is written before [`Storage::flush`], which the owner calls once a turn; everything submitted since the last flush
//!    is written as one.
//!
//! Completions come in no particular order.

pub mod memory;
mod page;
#[cfg(feature = "runtime")]
pub mod rocks;

use bytes::Bytes;
use quorate_ring::wire::Durability;

/// An operation's number on its handle, chosen by the submitter; the completion carries it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub u64);

/// Where an entry lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    /// Stripped containers by position and object key.
    Objects,
    /// Which key each recent dot touched.
    DotLog,
    /// Node clocks and the store's identity.
    Metadata,
}

impl Column {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Objects, Self::DotLog, Self::Metadata];
}

/// One change of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Set the entry.
    Put {
        /// Where.
        column: Column,
        /// Its key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Remove the entry, if it is there.
    Delete {
        /// Where.
        column: Column,
        /// Its key.
        key: Bytes,
    },
}

/// Changes that happen together or not at all, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The changes.
    pub changes: Vec<Change>,
}

impl Batch {
    /// Adds a change that sets an entry.
    pub fn put(&mut self, column: Column, key: Bytes, value: Bytes) {
        self.changes.push(Change::Put { column, key, value });
    }

    /// Adds a change that removes an entry.
    pub fn delete(&mut self, column: Column, key: Bytes) {
        self.changes.push(Change::Delete { column, key });
    }
}

/// What to read in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The first key that may be in the page of [`Column::Objects`].
    pub from: Bytes,
    /// The first key behind the range; `None` for the column's end.
    pub until: Option<Bytes>,
    /// What must follow the eight bytes of the position in a key for it to be in the page (a bucket's prefix; empty for all).
    pub infix: Bytes,
    /// Most entries of the page.
    pub limit: usize,
    /// The page ends after the entry that takes its keys and values to this many bytes or over.
    pub bytes_max: usize,
    /// A key of [`Column::Metadata`] to be read from the same snapshot (the partition's clock).
    pub beside: Bytes,
}

/// What is asked of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The value of a key of [`Column::Objects`].
    Read {
        /// Which.
        key: Bytes,
    },
    /// Changes, to be stored as durably as said.
    Write {
        /// What changes.
        batch: Batch,
        /// When it completes.
        durability: Durability,
    },
    /// A page of [`Column::Objects`].
    Scan(Scan),
}

/// What an operation brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// Of a read: the value, if there is one.
    Read(Option<Bytes>),
    /// Of a write: it is as durable as asked.
    Written,
    /// Of a scan.
    Scanned {
        /// Keys and values in order.
        entries: Vec<(Bytes, Bytes)>,
        /// Whether the range has no further entry that belongs in the page.
        last: bool,
        /// The value of [`Scan::beside`].
        beside: Option<Bytes>,
    },
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// A read failed, or what it brought is damaged. The store goes on.
    #[error("reading the store failed: {reason}")]
    Read {
        /// What the engine said.
        reason: String,
    },
    /// A write or sync failed now or earlier: the store is poisoned and serves nothing more.
    #[error("the store stopped after a failed write: {reason}")]
    Poisoned {
        /// What the engine said when the write failed.
        reason: String,
    },
}

impl Operation {
    /// The changes of a write; nothing of any other operation.
    fn changes(&self) -> &[Change] {
        match self {
            Self::Write { batch, .. } => &batch.changes,
            Self::Read { .. } | Self::Scan(_) => &[],
        }
    }
}

/// One shard's handle on the node's store.
pub trait Storage {
    /// Takes an operation. Its completion comes out of [`Storage::poll_completion`] some time after the next flush.
    fn submit(&mut self, id: OperationId, operation: Operation);

    /// Starts everything submitted since the last flush; all its writes are one atomic batch.
    fn flush(&mut self);

    /// The next operation that is done, if any is.
    fn poll_completion(&mut self) -> Option<(OperationId, Result<Completion, StorageError>)>;

    /// All entries of [`Column::Metadata`] in order, read at once. Only for starting, before the first operation.
    ///
    /// # Errors
    /// What the engine said.
    fn recover(&self) -> Result<Vec<(Bytes, Bytes)>, StorageError>;
}
