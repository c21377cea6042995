//! Every write of a run, with its ghost history.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use quorate_ring::wire::Durability;
use quorate_ring::{ObjectKey, Value, WallTime};

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
    /// W; the smallest that was the default while it was under way, if it asked for none.
    pub w: u8,
    /// Whether it asked for W itself.
    pub own_w: bool,
    /// The durability it asked for.
    pub durability: Durability,
    /// Whether others could stand in for its primaries.
    pub sloppy: bool,
    /// What its client knows.
    pub fate: Fate,
    /// How long its value is to live, if not for ever.
    pub ttl: Option<Duration>,
    /// When its value expires, once that was seen.
    pub expires_at: Option<WallTime>,
}

/// The W of a write that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum W {
    /// It asks for one.
    Own(u8),
    /// It asks for none; this is the default.
    Default(u8),
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
    /// Those of them that primaries only have acknowledged.
    pub by_primaries: Vec<Bits>,
    /// Those that some delete had seen that may have happened.
    pub deleted: Bits,
    /// Those that some write had seen that may have happened.
    pub overwritten: Bits,
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
    /// The nodes that an operator removed as dead.
    pub removed: BTreeSet<usize>,
    /// Whether any value has a ttl.
    pub expires: bool,
    /// The most that any shard of any node has taken its wall clock to show.
    pub wall: WallTime,
}

impl Truth {
    /// Nothing written yet.
    pub fn new(n: u8, keys: impl Iterator<Item = ObjectKey>) -> Self {
        let key = |key| KeyTruth {
            key,
            writes: Vec::new(),
            acknowledged: vec![Bits::default(); usize::from(n) + 1],
            by_primaries: vec![Bits::default(); usize::from(n) + 1],
            deleted: Bits::default(),
            overwritten: Bits::default(),
        };
        Self {
            n,
            writes: Vec::new(),
            keys: keys.map(key).collect(),
            losing: BTreeSet::new(),
            disks_lost: BTreeSet::new(),
            removed: BTreeSet::new(),
            expires: false,
            wall: WallTime::default(),
        }
    }

    /// A client begins a write; `ghost` is what it had seen.
    pub fn begin(&mut self, key: usize, kind: Kind, ghost: Bits, w: W, durability: Durability) -> WriteId {
        let id = WriteId(u32::try_from(self.writes.len()).expect("a run has few writes"));
        let truth = &mut self.keys[key];
        let index = truth.writes.len();
        truth.writes.push(id);
        truth.overwritten.join(&ghost);
        if kind == Kind::Delete {
            truth.deleted.join(&ghost);
        }
        let (w, own_w) = match w {
            W::Own(w) => (w, true),
            W::Default(w) => (w, false),
        };
        self.writes.push(Write {
            key,
            index,
            kind,
            ghost,
            w,
            own_w,
            durability,
            sloppy: false,
            fate: Fate::Begun,
            ttl: None,
            expires_at: None,
        });
        id
    }

    /// A write that has begun lets others stand in for its primaries.
    pub fn may_be_elsewhere(&mut self, id: WriteId) {
        self.writes[id.0 as usize].sloppy = true;
    }

    /// A write that has just begun asks for a ttl.
    pub fn limit(&mut self, id: WriteId, ttl: Duration) {
        self.expires = true;
        self.writes[id.0 as usize].ttl = Some(ttl);
    }

    /// When the value of a write expires, if it does and that was seen.
    pub fn expires_at(&self, id: WriteId) -> Option<WallTime> {
        self.writes.get(id.0 as usize)?.expires_at
    }

    /// Whether the time of a write's value has come by the clock of some node. Before that nothing may be missing for its expiry; and
    /// from then on it may, as nodes tell each other what is gone.
    pub fn has_expired(&self, id: WriteId) -> bool {
        self.expires_at(id).is_some_and(|moment| moment <= self.wall)
    }

    /// Those writes of a key whose values may be gone because they have expired, and all that their writers had seen.
    pub fn behind_expired(&self, key: usize) -> Bits {
        let mut behind = Bits::default();
        for id in self.keys[key].writes.iter().filter(|id| self.expires && self.has_expired(**id)) {
            let write = self.write(*id);
            behind.join(&write.ghost);
            behind.insert(write.index);
        }
        behind
    }

    /// The default W becomes smaller: writes under way that asked for none may be acknowledged by as many.
    pub fn loosen(&mut self, w: u8) {
        let begun = self.writes.iter_mut().filter(|write| write.fate == Fate::Begun && !write.own_w);
        begun.for_each(|write| write.w = write.w.min(w));
    }

    /// A client learns what became of its write.
    pub fn end(&mut self, id: WriteId, fate: Fate) {
        let write = &mut self.writes[id.0 as usize];
        assert_eq!(write.fate, Fate::Begun, "a write ends once");
        write.fate = fate;
        let (key, index, w, sloppy) = (write.key, write.index, write.w, write.sloppy);
        if fate == Fate::Acknowledged {
            self.keys[key].acknowledged[usize::from(w)].insert(index);
            if !sloppy {
                self.keys[key].by_primaries[usize::from(w)].insert(index);
            }
        }
        if fate == Fate::Failed {
            let (deleted, overwritten) = (self.seen_by(key, |kind| kind == Kind::Delete), self.seen_by(key, |_| true));
            (self.keys[key].deleted, self.keys[key].overwritten) = (deleted, overwritten);
        }
    }

    /// What those writes of a key had seen that may have happened.
    fn seen_by(&self, key: usize, of_kind: impl Fn(Kind) -> bool) -> Bits {
        let mut seen = Bits::default();
        let writes = self.keys[key].writes.iter().map(|id| self.write(*id));
        writes
            .filter(|write| of_kind(write.kind) && write.fate != Fate::Failed)
            .for_each(|write| seen.join(&write.ghost));
        seen
    }

    /// The key that a value was written to.
    pub fn key_of(&self, value: &Value) -> Option<&ObjectKey> {
        let write = self.writes.get(WriteId::of(value)?.0 as usize)?;
        Some(&self.keys[write.key].key)
    }

    /// Whether a write had seen another of its key.
    pub fn has_seen(&self, newer: WriteId, older: WriteId) -> bool {
        let [newer, older] = [newer, older].map(|id| self.writes.get(id.0 as usize));
        newer.zip(older).is_some_and(|(newer, older)| newer.key == older.key && newer.ghost.contains(older.index))
    }

    /// Whether some write that may have happened had seen this one.
    pub fn is_overwritten(&self, id: WriteId) -> bool {
        let write = self.writes.get(id.0 as usize);
        write.is_some_and(|write| self.keys[write.key].overwritten.contains(write.index))
    }

    /// A write.
    pub fn write(&self, id: WriteId) -> &Write {
        &self.writes[id.0 as usize]
    }

    /// Whether an acknowledged write may be gone: so many nodes as acknowledged it have lost what it was acknowledged to be in, or were declared
    /// dead by an operator, and what only they had with them.
    pub fn is_excused(&self, write: &Write) -> bool {
        let losing = match write.durability {
            Durability::Buffered => &self.losing,
            Durability::Synced => &self.disks_lost,
        };
        usize::from(write.w) <= losing.union(&self.removed).count()
    }
}
