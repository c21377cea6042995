//! O2: no dot is ever issued for two events, by any incarnation of any node.
//!
//! It is seen from outside the shards: in what they send and have stored. An event is in a store when its entry of the dot log is,
//! for a batch is atomic; which stores have held which event is kept here for O10, too.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_node::replica::layout;
use quorate_node::storage::{Change, Column};
use quorate_ring::version::{Actor, Container, Dot, Incarnation};
use quorate_ring::{NodeId, ObjectKey, PartitionId, StoredValue};

use super::truth::WriteId;
use super::{Oracle, Violation};

/// A write event, as the stores know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    key: ObjectKey,
    /// `None` for a delete.
    write: Option<WriteId>,
    /// Whether its own actor's store was asked to keep it.
    stored: bool,
    /// The nodes whose stores have held it, a bit each.
    pub(super) flushed: u64,
    /// And those that have synced it.
    pub(super) synced: u64,
}

/// Every event of a run, by the key of its entry in the dot log.
#[derive(Clone, Debug, Default)]
pub struct Dots {
    events: BTreeMap<Bytes, Event>,
    /// Of each write with a value, its event.
    of_write: BTreeMap<WriteId, Bytes>,
    /// Of each key, the events of its deletes.
    deletes: BTreeMap<ObjectKey, Vec<Bytes>>,
}

impl Dots {
    /// A coordinator sends an event to a replica.
    ///
    /// # Errors
    /// If the dot was issued for another event.
    pub fn note_sent(
        &mut self,
        partition: PartitionId,
        key: &ObjectKey,
        dot: Dot,
        container: &Container<StoredValue>,
    ) -> Result<(), Violation> {
        self.bind(layout::dot_log(partition, dot), key, write_of(container, dot)).map(|_| ())
    }

    /// A node keeps a write for another, with all earlier ones: it may be that this is where an event is seen first.
    ///
    /// # Errors
    /// If the dot was issued for another event.
    pub fn note_kept(
        &mut self,
        partition: PartitionId,
        key: &ObjectKey,
        dot: Dot,
        container: &Container<StoredValue>,
    ) -> Result<(), Violation> {
        let (place, write) = (layout::dot_log(partition, dot), write_of(container, dot));
        // A value may be gone that was there when the event was first seen.
        if write.is_none() && self.events.contains_key(&place) {
            return Ok(());
        }
        self.bind(place, key, write).map(|_| ())
    }

    /// A shard of a node has a batch stored, in which are events that it issued itself, as the actor that it is in a partition, or received. Gives
    /// how many it issued.
    ///
    /// # Errors
    /// If the node issued a dot twice, or stores one for another event than it was issued for.
    pub fn note_stored(
        &mut self,
        issuer: impl Fn(PartitionId) -> Actor,
        changes: &[Change],
        stored: Option<&Container<StoredValue>>,
    ) -> Result<usize, Violation> {
        let mut issued = 0;
        for change in changes {
            let Change::Put { column: Column::DotLog, key: place, value } = change else { continue };
            let own = issuer(PartitionId::new(u16::from_be_bytes([place[0], place[1]])));
            let actor = [&own.node.number().to_be_bytes()[..], &own.incarnation.number().to_be_bytes()[..]].concat();
            if place[2..14] != actor[..] {
                continue;
            }
            let key = ObjectKey::decode(value.clone()).map_err(|error| Violation::new(Oracle::Dots, error))?;
            let counter = u64::from_be_bytes(place[14..22].try_into().expect("eight bytes"));
            let write = stored.and_then(|container| write_of(container, Dot::new(own, counter)));
            let event = self.bind(place.clone(), &key, write)?;
            if std::mem::replace(&mut event.stored, true) {
                return Err(Violation::new(Oracle::Dots, format_args!("{own:?}:{counter} was issued again")));
            }
            issued += 1;
        }
        Ok(issued)
    }

    /// The key and the write of an entry of the dot log; a delete's write cannot be told.
    pub fn event(&self, entry: &Bytes) -> Option<(&ObjectKey, Option<WriteId>)> {
        self.events.get(entry).map(|event| (&event.key, event.write))
    }

    /// A node's store has flushed these entries of the dot log.
    pub fn note_flushed(&mut self, node: NodeId, entries: impl Iterator<Item = Bytes>) {
        self.note(entries, |event| event.flushed |= bit(node));
    }

    /// A node's store has synced these entries of the dot log.
    pub fn note_synced(&mut self, node: NodeId, entries: impl Iterator<Item = Bytes>) {
        self.note(entries, |event| event.synced |= bit(node));
    }

    /// Whether a node's store has ever synced an event.
    pub fn is_synced(&self, node: NodeId, entry: &Bytes) -> bool {
        self.events.get(entry).is_some_and(|event| event.synced & bit(node) != 0)
    }

    fn note(&mut self, entries: impl Iterator<Item = Bytes>, how: impl Fn(&mut Event)) {
        for entry in entries {
            if let Some(event) = self.events.get_mut(&entry) {
                how(event);
            }
        }
    }

    /// The events that may be of a write to this key: its own, or for a delete, which cannot be told from others, all of them.
    pub(super) fn events_of<'a>(&'a self, id: WriteId, key: &'a ObjectKey) -> impl Iterator<Item = &'a Event> {
        self.entries_of(id, key).filter_map(|place| self.events.get(place))
    }

    /// The entries of these events in the dot log.
    pub fn entries_of<'a>(&'a self, id: WriteId, key: &'a ObjectKey) -> impl Iterator<Item = &'a Bytes> {
        let own = self.of_write.get(&id);
        let deletes = own.is_none().then(|| self.deletes.get(key)).flatten();
        own.into_iter().chain(deletes.into_iter().flatten())
    }

    fn bind(&mut self, place: Bytes, key: &ObjectKey, write: Option<WriteId>) -> Result<&mut Event, Violation> {
        if let Some(write) = write {
            let known = self.of_write.entry(write).or_insert_with(|| place.clone());
            if *known != place {
                return Err(Violation::new(Oracle::Dots, format_args!("{write:?} was made an event twice")));
            }
        }
        let deletes = &mut self.deletes;
        let event = self.events.entry(place).or_insert_with_key(|place| {
            if write.is_none() {
                deletes.entry(key.clone()).or_default().push(place.clone());
            }
            Event { key: key.clone(), write, stored: false, flushed: 0, synced: 0 }
        });
        if (&event.key, event.write) != (key, write) {
            let what = format!("one dot is of {:?} of {:?} and of {write:?} of {key:?}", event.write, event.key);
            return Err(Violation::new(Oracle::Dots, what));
        }
        Ok(event)
    }
}

/// The dot of an entry of the dot log.
///
/// # Panics
/// If it is none.
pub fn dot_of(entry: &[u8]) -> Dot {
    let node = u32::from_be_bytes(entry[2..6].try_into().expect("four bytes"));
    let [incarnation, counter] =
        [6, 14].map(|at| u64::from_be_bytes(entry[at..at + 8].try_into().expect("eight bytes")));
    let node = NodeId::new(node).expect("a node has a number");
    Dot::new(Actor::new(node, Incarnation::new(incarnation)), counter)
}

fn bit(node: NodeId) -> u64 {
    1 << (node.number() % 64)
}

fn write_of(container: &Container<StoredValue>, dot: Dot) -> Option<WriteId> {
    container.values().find(|(known, _)| **known == dot).and_then(|(_, stored)| WriteId::of(&stored.value))
}
