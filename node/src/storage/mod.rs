//! Persistence behind a small completion-based interface, with two engines under one contract suite: [`memory`], whose crashes
//! the simulator decides, and RocksDB behind the feature `runtime`.
//!
//! ```text
//! submit(id, operation) ...  flush()  ->  poll_completion() -> (id, outcome) ...
//! ```
//!
//! The contract, which the suite checks on both engines:
//!
//! 1. A [`Batch`] is atomic: after any crash all of it is there or nothing. Its changes take effect in their order.
//! 2. Writes take effect in the order of submission, and a crash keeps a prefix of that order; never a later write without an
//!    earlier one of the same handle.
//! 3. A read, lookup or scan sees every write submitted before it on the same handle, and it may see some submitted after it: a
//!    turn writes before it reads, and a read that has to wait for the disk may meet a later turn's writes. A lookup is one
//!    consistent snapshot of all its keys, and a scan is one of its column and of the [`Scan::beside`] record alike.
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
use serde::{Deserialize, Serialize};

/// An operation's number on its handle, chosen by the submitter; the completion carries it back.
///
/// Several components of a shard submit to one handle, each counting for itself: the top byte tells whose the operation is. A
/// plain small number is one of the [`Owner::Replica`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub u64);

/// The component of a shard that an operation's completion is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// What is stored and read for requests and peers.
    Replica,
    /// Hints: what is kept for nodes that could not be reached.
    Hints,
    /// The comparison of replicas with each other.
    AntiEntropy,
    /// The search for what rotted on the disk.
    Scrub,
    /// The node's copy of the layout.
    Layout,
}

impl Owner {
    /// All of them, each at the place that is its byte in an [`OperationId`].
    const ALL: [Self; 5] = [Self::Replica, Self::Hints, Self::AntiEntropy, Self::Scrub, Self::Layout];
}

impl OperationId {
    /// Below the owner's byte.
    const NUMBER_BITS: u32 = 56;

    /// The owner's operation of a number.
    ///
    /// # Panics
    /// If the number is 2^56 or more: at a million operations a second, that is after two thousand years.
    pub const fn new(owner: Owner, number: u64) -> Self {
        assert!(number < 1 << Self::NUMBER_BITS, "an owner's numbers leave the top byte free");
        Self((owner as u64) << Self::NUMBER_BITS | number)
    }

    /// Whose operation it is.
    ///
    /// # Panics
    /// If it was not made by [`OperationId::new`] and its top byte is nobody's.
    pub fn owner(self) -> Owner {
        let byte = self.0 >> Self::NUMBER_BITS;
        let owner = Owner::ALL.into_iter().find(|owner| *owner as u64 == byte);
        owner.expect("whoever makes an operation's number puts its owner into it")
    }
}

/// Where an entry lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Column {
    /// Stripped containers by position and object key.
    #[serde(rename = "o")]
    Objects,
    /// Which key each recent dot touched.
    #[serde(rename = "l")]
    DotLog,
    /// Node clocks and the store's identity.
    #[serde(rename = "m")]
    Metadata,
    /// What is kept for other nodes until they can be reached.
    #[serde(rename = "h")]
    Hints,
}

impl Column {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Objects, Self::DotLog, Self::Metadata, Self::Hints];
}

/// One change, of an entry or of a range of them. Its encoding, which an engine may keep, is named as briefly as can be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Set the entry.
    #[serde(rename = "p")]
    Put {
        /// Where.
        column: Column,
        /// Its key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Remove the entry, if it is there.
    #[serde(rename = "d")]
    Delete {
        /// Where.
        column: Column,
        /// Its key.
        key: Bytes,
    },
    /// Remove the entries of a range, in one step however many there are. For ranges that are removed seldom or hold many entries:
    /// every later read of the column has to look at the mark that it leaves, until the engine has tidied up.
    #[serde(rename = "r")]
    DeleteRange {
        /// Where.
        column: Column,
        /// The first key of the range.
        from: Bytes,
        /// The first key behind the range. One that is not behind `from` makes the range empty.
        until: Bytes,
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

    /// Adds a change that removes the entries from one key up to, and without, another.
    pub fn delete_range(&mut self, column: Column, from: Bytes, until: Bytes) {
        self.changes.push(Change::DeleteRange { column, from, until });
    }
}

/// What to read in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Of which column.
    pub column: Column,
    /// The first key that may be in the page.
    pub from: Bytes,
    /// The first key behind the range; `None` for the column's end.
    pub until: Option<Bytes>,
    /// What must follow the eight bytes of the position in a key of [`Column::Objects`] for it to be in the page (a bucket's
    /// prefix); empty for all, and for other columns.
    pub infix: Bytes,
    /// Most entries of the page.
    pub limit: usize,
    /// The page ends after the entry that takes its keys and values to this many bytes or over.
    pub bytes_max: usize,
    /// A key of [`Column::Metadata`] to be read from the same snapshot (the partition's clock), if one is wanted.
    pub beside: Option<Bytes>,
}

/// What is asked of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The value of a key. An engine may answer it from what it has at hand; a lookup and a scan are of what is stored.
    Read {
        /// Where.
        column: Column,
        /// Which.
        key: Bytes,
    },
    /// The values of many keys. How many is the submitter's to bound.
    Lookup {
        /// Where.
        column: Column,
        /// Which, in any order; the same may be there twice.
        keys: Vec<Bytes>,
    },
    /// Changes, to be stored as durably as said.
    Write {
        /// What changes.
        batch: Batch,
        /// When it completes.
        durability: Durability,
    },
    /// A page of a column.
    Scan(Scan),
}

/// What an operation brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// Of a read: the value, if there is one.
    Read(Option<Bytes>),
    /// Of a lookup: of each key the value, if there is one, in the order in which the keys were asked.
    Found(Vec<Option<Bytes>>),
    /// Of a write: it is as durable as asked.
    Written,
    /// Of a scan.
    Scanned {
        /// Keys and values in order.
        entries: Vec<(Bytes, Bytes)>,
        /// Whether the range has no further entry that belongs in the page.
        last: bool,
        /// The value of [`Scan::beside`], if it was asked for and there is one.
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

impl Change {
    /// The column that it is made in.
    pub const fn column(&self) -> Column {
        match self {
            Self::Put { column, .. } | Self::Delete { column, .. } | Self::DeleteRange { column, .. } => *column,
        }
    }
}

impl Operation {
    /// The changes of a write; nothing of any other operation.
    pub fn changes(&self) -> &[Change] {
        match self {
            Self::Write { batch, .. } => &batch.changes,
            Self::Read { .. } | Self::Lookup { .. } | Self::Scan(_) => &[],
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
