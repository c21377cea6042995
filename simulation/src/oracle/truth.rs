//! Every write of a run, with its ghost history.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_ring::wire::Durability;
use quorate_ring::{ObjectKey, Value};

use super::bits::Bits;

/// A write, by its number in the run. Its value begins with that number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteId(pub u32);

impl std::fmt::Debug for WriteId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "w{}", self.0)
    }
}

impl WriteId {
    /// The value that this write writes: its number, and some padding.
    pub fn value(self, padding: usize) -> Value {
        let mut bytes = self.0.to_le_bytes().to_vec();
        bytes.resize(4 + padding, 0xa5);
        Value::new(Bytes::from(bytes)).expect("a small value")
    }

    /// Whose value it is.
    pub fn of(value: &Value) -> Option<Self> {
        value.as_bytes().first_chunk::<4>().map(|bytes| Self(u32::from_le_bytes(*bytes)))
    }
}

/// What its client knows of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is under way.
    Begun,
    /// It was acknowledged.
    Acknowledged,
    /// It definitely did not happen.
    Failed,
    /// It may have happened, or not.
    Unknown,
}

/// A write.
#[derive(Clone, Debug)]
pub struct Write {
    /// On which key.
    pub key: usize,
    /// Its number among that key's writes.
    pub index: usize,
    /// Whether it adds a value.
    pub kind: Kind,
    /// The key's writes that its writer had seen.
    pub ghost: Bits,
    /// W.
    pub w: u8,
    /// The durability it asked for.
    pub durability: Durability,
    /// What its client knows.
    pub fate: Fate,
}

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Adds a value.
    Put,
    /// Adds none.
    Delete,
}

/// What is known of a key.
#[derive(Clone, Debug)]
pub struct KeyTruth {
    /// Which key.
    pub key: ObjectKey,
    /// Its writes, in the order they were begun.
    pub writes: Vec<WriteId>,
    /// Those that were acknowledged by so many replicas, by W.
    pub acknowledged: Vec<Bits>,
    /// Those that some delete had seen that may have happened.
    pub deleted: Bits,
}

/// Everything that was written in a run.
#[derive(Clone, Debug)]
pub struct Truth {
    /// N.
    pub n: u8,
    /// All writes.
    pub writes: Vec<Write>,
    /// All keys.
    pub keys: Vec<KeyTruth>,
    /// The nodes that have lost power, or their disks.
    pub losing: BTreeSet<usize>,
    /// The nodes that have lost their disks.
    pub disks_lost: BTreeSet<usize>,
}

impl Truth {
    /// Nothing written yet.
    pub fn new(n: u8, keys: impl Iterator<Item = ObjectKey>) -> Self {
        let key = |key| KeyTruth {
            key,
            writes: Vec::new(),
            acknowledged: vec![Bits::default(); usize::from(n) + 1],
            deleted: Bits::default(),
        };
        Self {
            n,
            writes: Vec::new(),
            keys: keys.map(key).collect(),
            losing: BTreeSet::new(),
            disks_lost: BTreeSet::new(),
        }
    }

    /// A client begins a write; `ghost` is what it had seen.
    pub fn begin(&mut self, key: usize, kind: Kind, ghost: Bits, w: u8, durability: Durability) -> WriteId {
        let id = WriteId(u32::try_from(self.writes.len()).expect("a run has few writes"));
        let truth = &mut self.keys[key];
        let index = truth.writes.len();
        truth.writes.push(id);
        if kind == Kind::Delete {
            truth.deleted.join(&ghost);
        }
        self.writes.push(Write { key, index, kind, ghost, w, durability, fate: Fate::Begun });
        id
    }

    /// A client learns what became of its write.
    pub fn end(&mut self, id: WriteId, fate: Fate) {
        let write = &mut self.writes[id.0 as usize];
        assert_eq!(write.fate, Fate::Begun, "a write ends once");
        write.fate = fate;
        let (key, index, w, kind) = (write.key, write.index, write.w, write.kind);
        if fate == Fate::Acknowledged {
            self.keys[key].acknowledged[usize::from(w)].insert(index);
        }
        if fate == Fate::Failed && kind == Kind::Delete {
            self.keys[key].deleted = self.deleted(key);
        }
    }

    fn deleted(&self, key: usize) -> Bits {
        let mut deleted = Bits::default();
        let writes = self.keys[key].writes.iter().map(|id| self.write(*id));
        writes
            .filter(|write| write.kind == Kind::Delete && write.fate != Fate::Failed)
            .for_each(|write| deleted.join(&write.ghost));
        deleted
    }

    /// A write.
    pub fn write(&self, id: WriteId) -> &Write {
        &self.writes[id.0 as usize]
    }

    /// Whether an acknowledged write may be gone: so many nodes as acknowledged it have lost what it was acknowledged to be in.
    pub fn is_excused(&self, write: &Write) -> bool {
        let losing = match write.durability {
            Durability::Buffered => self.losing.len(),
            Durability::Synced => self.disks_lost.len(),
        };
        usize::from(write.w) <= losing
    }
}
