//! A partition that is being received as a whole: its pages are merged in one batch each, not key by key.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_ring::version::{Container, Dot, NodeClock, VersionVector};
use quorate_ring::wire::Durability;
use quorate_ring::{ObjectKey, PartitionId, Position, StoredValue};

use super::slot::Slot;
use super::{Asker, KeyOperation, Replica, Submitted, layout};
use crate::limits::REPLICA_OPERATIONS_MAX;
use crate::storage::{Batch, Column, Operation};

/// What is known of a partition that is being received.
#[derive(Default)]
pub(super) struct Arriving {
    /// The pages so far, in ring order.
    pages: Vec<Arrived>,
    /// The keys of the last page, of which the sender does hold something.
    held: BTreeSet<ObjectKey>,
    /// The keys that were written since the last page came, while it is at hand.
    pub(super) written: Option<BTreeSet<ObjectKey>>,
}

/// A page that came.
struct Arrived {
    /// The place of its last key; `None` if it reaches the partition's end.
    until: Option<Bytes>,
    /// What the sender knew to be obsolete of every key that it did not hold then. A later page's base says nothing of these: since then the
    /// sender may have got one.
    base: VersionVector,
}

/// What a peer and this replica have of a key.
pub struct Merging {
    /// Which.
    pub key: ObjectKey,
    /// What the peer has of it, filled; nothing but its base if it has none.
    pub theirs: Container<StoredValue>,
    /// What was found here, as it is stored; `None` if nothing was.
    pub stored: Option<Container<StoredValue>>,
}

/// A key of a page that was merged, and is to be stored.
struct Merged {
    key: ObjectKey,
    /// As it was found.
    stored: Option<Container<StoredValue>>,
    /// Filled.
    container: Container<StoredValue>,
    /// What of it is new here.
    dots: Vec<Dot>,
}

impl Replica {
    /// The next page of a partition has come: it ends with this key, or reaches to the partition's end. A key in its range that is not here,
    /// and that the peer does not hold, is known to hold nothing that its base covers.
    pub fn note_arriving(
        &mut self,
        partition: PartitionId,
        end: Option<&ObjectKey>,
        base: VersionVector,
        held: BTreeSet<ObjectKey>,
    ) {
        let arriving = self.arriving.entry(partition).or_default();
        arriving.pages.push(Arrived { until: end.map(layout::object), base });
        arriving.held = held;
        arriving.written = Some(BTreeSet::new());
    }

    /// The receiving of a partition broke off. What is known of the pages up to this key is kept, for it may go on from there.
    pub fn keep_arriving(&mut self, partition: PartitionId, after: &ObjectKey) {
        let after = layout::object(after);
        if let Some(arriving) = self.arriving.get_mut(&partition) {
            arriving.pages.retain(|page| page.until.as_ref().is_some_and(|until| *until <= after));
            arriving.held.clear();
            arriving.written = None;
        }
    }

    /// The partition is received, or its receiving was given up.
    pub fn forget_arriving(&mut self, partition: PartitionId) {
        self.arriving.remove(&partition);
    }

    /// What is known of a key that is not stored.
    pub(super) fn absent(&self, key: &ObjectKey) -> Container<StoredValue> {
        let mut container = Container::empty();
        let partition = self.partitions.partition_of(Position::of(key));
        if let Some(Arriving { pages, held, .. }) = self.arriving.get(&partition)
            && !held.contains(key)
        {
            let place = layout::object(key);
            let page = pages.iter().find(|page| page.until.as_ref().is_none_or(|until| place <= *until));
            page.into_iter().for_each(|page| container.fill(&page.base));
        }
        container
    }

    /// Merges what a peer has of a range of keys with what was read here since the page was noted, all in one batch; and joins the clock that
    /// vouches for the whole partition in the same, if these are the last and all of them can be. Gives whether it did.
    ///
    /// A key that somebody works on, or has written since, is merged by itself.
    pub fn merge_page(
        &mut self,
        asker: Asker,
        partition: PartitionId,
        pairs: Vec<Merging>,
        vouches: Option<&NodeClock>,
    ) -> bool {
        let actor = self.actor_of(partition);
        let own = self.clocks.base(partition).counter(actor);
        let room = self.poisoned.is_none() && self.waiting + pairs.len() <= REPLICA_OPERATIONS_MAX;
        let written = self.arriving.get(&partition).and_then(|arriving| arriving.written.as_ref());
        let alone = |Merging { key, theirs, .. }: &Merging| {
            !room
                || self.slots.contains_key(key)
                || written.is_none_or(|written| written.contains(key))
                || theirs.dots().any(|dot| dot.actor == actor && own < dot.counter)
        };
        let (alone, together): (Vec<_>, Vec<_>) = pairs.into_iter().partition(alone);
        let vouches = vouches.filter(|_| alone.is_empty() && !together.is_empty());
        if !together.is_empty() {
            self.merge_together(asker, partition, together, vouches);
        }
        for Merging { key, theirs, .. } in alone {
            let (dots, durability) = (Vec::new(), Durability::Buffered);
            self.handle_key(key, KeyOperation::Merge { asker, container: theirs, dots, durability });
        }
        vouches.is_some()
    }

    fn merge_together(
        &mut self,
        asker: Asker,
        partition: PartitionId,
        pairs: Vec<Merging>,
        vouches: Option<&NodeClock>,
    ) {
        let merged: Vec<Merged> = pairs.into_iter().map(|pair| self.merge_pair(partition, pair)).collect();
        let anew = vouches.is_some() || merged.iter().any(|merged| !merged.dots.is_empty());
        vouches.into_iter().for_each(|clock| self.clocks.join(partition, clock));
        let mut batch = Batch::default();
        let mut keys = Vec::with_capacity(merged.len());
        for Merged { key, stored, container, dots } in merged {
            let stripped = self.strip(partition, container);
            if !dots.is_empty() || stored.unwrap_or_else(Container::empty) != stripped {
                self.put(&mut batch, &key, partition, &stripped, &dots);
            }
            let slot = Slot::writing(asker, stripped);
            self.waiting += 1;
            self.waiting_bytes += slot.writing_bytes;
            self.slots.insert(key.clone(), slot);
            keys.push(key);
        }
        if anew {
            batch.put(Column::Metadata, layout::clock(partition), layout::encode(self.clocks.live(partition)));
        }
        let (durability, joins) = (Durability::Buffered, vouches.is_some());
        self.submit(Operation::Write { batch, durability }, Submitted::Page { keys, joins });
    }

    fn merge_pair(&mut self, partition: PartitionId, Merging { key, theirs, stored }: Merging) -> Merged {
        let absent = stored.is_none().then(|| self.absent(&key));
        let known = stored.as_ref().or(absent.as_ref()).expect("one of them is there");
        let (container, dots) = self.merge(partition, known, theirs, Vec::new());
        Merged { key, stored, container, dots }
    }
}
