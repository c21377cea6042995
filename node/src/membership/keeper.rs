//! A node's copy of the layout: kept on the disk before anybody is told of it, and this node's progress in it.
//!
//! ```text
//!            merge, change, progress                                done
//! (told) ──────────────────────────▶ changed ──poll_store──▶ storing ────▶ (told)
//!                                       ▲                       │ changed meanwhile
//!                                       └───────────────────────┘
//! ```
//!
//! Told are this node's shards, which go by it, and its peers. What a node has said must not be forgotten with its power: that all its writes
//! go to an epoch's replicas, or that it has received all of them; and a shard that has removed a replica must not find, after a start, that it
//! is to hold it.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_ring::NodeId;
use quorate_ring::layout::{Delta, EpochId, InvalidCommit, Layout, Placement, Summary};
use quorate_ring::wire::LayoutChange;
use xxhash_rust::xxh3::xxh3_64;

use crate::replica::layout;

/// A node's copy of the layout.
pub struct Keeper {
    own: NodeId,
    /// With all that is known.
    layout: Layout,
    /// As it is on the disk, and known to all.
    told: Layout,
    /// Of that.
    hash: u64,
    /// Whether there is more in it than was stored, or is being.
    changed: bool,
    /// As it is being stored, and its hash.
    storing: Option<(Layout, u64)>,
    /// How far each shard has come.
    shards: BTreeMap<u8, ShardProgress>,
}

/// How far a shard has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ShardProgress {
    /// The last epoch that all its writes go by.
    last: EpochId,
    /// The one that all its reads go by.
    reads_by: EpochId,
    /// The last of which it has all.
    synced: EpochId,
}

impl Keeper {
    /// A copy that is on the disk, at the start of a node of so many shards.
    pub fn new(own: NodeId, layout: Layout, shards: u8) -> Self {
        let placement = layout.placement(own);
        let progress = ShardProgress {
            last: placement.last_epoch(),
            reads_by: placement.read_epoch(),
            synced: layout.progress_of(own).synced,
        };
        let shards = (0..shards).map(|shard| (shard, progress)).collect();
        let hash = xxh3_64(&layout::encode(&layout));
        let mut keeper = Self { own, told: layout.clone(), hash, layout, changed: false, storing: None, shards };
        keeper.note_progress();
        keeper
    }

    /// The copy as it is on the disk.
    pub const fn told(&self) -> &Layout {
        &self.told
    }

    /// Where replicas are by it.
    pub fn placement(&self) -> Placement {
        self.told.placement(self.own)
    }

    /// What tells copies apart.
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// Takes over what another copy has and this one does not. `true` if there is something on this node's disk that the other has not.
    pub fn merge(&mut self, mut other: Layout) -> bool {
        self.changed |= self.layout.merge(&other);
        self.note_progress();
        other.merge(&self.told)
    }

    /// What it knows, in short: more than is told, so that what is being stored is not asked for again.
    pub fn summary(&self) -> Summary {
        self.layout.summary()
    }

    /// What is told and another copy lacks; nothing if it lacks nothing.
    pub fn delta(&self, other: &Summary) -> Option<Delta> {
        self.told.delta(other)
    }

    /// Whether another copy has something that is not known here.
    pub fn lacks(&self, other: &Summary) -> bool {
        self.layout.lacks(other)
    }

    /// Takes over what another copy has and this one does not.
    pub fn apply(&mut self, delta: &Delta) {
        self.changed |= self.layout.apply(delta);
        self.note_progress();
    }

    /// Does what an operator asks.
    ///
    /// # Errors
    /// [`InvalidCommit`], of a commit.
    pub fn change(&mut self, change: LayoutChange) -> Result<(), InvalidCommit> {
        match change {
            LayoutChange::Wish { node, change } => self.layout.wish(self.own, node, change),
            LayoutChange::Revert => self.layout.revert(self.own),
            LayoutChange::Commit { epoch } => self.layout.commit(self.own, epoch)?,
        }
        self.changed = true;
        Ok(())
    }

    /// All requests of a shard go by these epochs.
    pub fn handle_settled(&mut self, shard: u8, last: EpochId, reads_by: EpochId) {
        if let Some(progress) = self.shards.get_mut(&shard) {
            (progress.last, progress.reads_by) = (last, reads_by);
        }
        self.note_progress();
    }

    /// A shard has all that it holds by an epoch.
    pub fn handle_synced(&mut self, shard: u8, epoch: EpochId) {
        if let Some(progress) = self.shards.get_mut(&shard) {
            progress.synced = epoch;
        }
        self.note_progress();
    }

    /// What all shards have come to, this node has. Only what they were told counts: an epoch that is not on the disk yet they cannot know.
    fn note_progress(&mut self) {
        let all = |holds: &dyn Fn(&ShardProgress) -> bool| self.shards.values().all(holds);
        let last = self.layout.last().id();
        let acknowledges = all(&|shard| shard.last == last);
        let reads_by = self.layout.reads_by().id();
        let reads = all(&|shard| shard.reads_by == reads_by);
        let due = self.layout.acknowledged_by_all().id();
        let synced = all(&|shard| shard.synced == due);
        self.changed |= acknowledges && self.layout.acknowledge(self.own);
        self.changed |= synced && self.layout.note_synced(self.own, due);
        self.changed |= reads && self.layout.note_reading(self.own);
    }

    /// What is to be stored, durably, if anything is and nothing is being stored.
    pub fn poll_store(&mut self) -> Option<Bytes> {
        if self.storing.is_some() || !self.changed {
            return None;
        }
        self.changed = false;
        let encoded = layout::encode(&self.layout);
        self.storing = Some((self.layout.clone(), xxh3_64(&encoded)));
        Some(encoded)
    }

    /// Whether something is being stored.
    pub const fn is_storing(&self) -> bool {
        self.storing.is_some()
    }

    /// It is stored: from now on it is told.
    pub fn handle_stored(&mut self) {
        if let Some(stored) = self.storing.take() {
            (self.told, self.hash) = stored;
        }
    }
}
