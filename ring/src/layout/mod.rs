//! Who takes part in the cluster, and how it goes from one ring to the next while it serves: a value that every node has a copy of, changes
//! by itself, and merges with what others have. Nobody leads, and nothing is ever voted on.
//!
//! | part | is |
//! |---|---|
//! | [`Wish`] | what is wanted of one node: a role, or that it leaves. The last one of each node counts |
//! | [`Epoch`] | a ring that was committed, and which wishes it fulfils. Wishes that the last epoch does not fulfil are *staged* |
//! | [`Progress`] | how far one node is on the way from epoch to epoch; only that node says so |
//!
//! [`Layout::merge`] is a join: commutative, associative and idempotent, so that copies which have met, in whatever order, are the same.
//!
//! **Several epochs are live** while one follows another. A node goes through these steps, each for an epoch and all before it:
//!
//! 1. *Acknowledged*: all its writes go to this epoch's replicas too, and none that does not is under way any more.
//! 2. *Synced*: all have acknowledged it, and after that the node has received all that it holds in it.
//! 3. *Reading*: all have synced it, and this node reads by it, and no longer by any before.
//!
//! Writes need their quorum in each live epoch, reads in the one they go by. When all are reading by an epoch, those before are *dropped*:
//! no read can come any more that goes by one, so no write need go there, and what they alone had placed can be deleted. Garage has these
//! three trackers, too ("ack", "sync", "sync_ack"); with two, a node that has not heard that all are synced would read where nobody writes.
//!
//! **Two commits after the same epoch**, on two sides of a split, are rivals. Of two histories the one wins that has removed more nodes by
//! force; of two that have removed as many, the one whose epoch is the greater (by its id, which is a hash) *where they first differ*, however
//! long either is. So a node leaves a history only for a greater one; and when all have acknowledged an epoch, none of them can have made a
//! greater one without it, nor make one later, since then each builds on it. Before that, no epoch before it is dropped. The wishes that the
//! loser fulfilled and the winner does not are staged again by themselves.
//!
//! Nobody waits for a node that was *removed by force*. It may have committed what nobody has heard of; coming back with that, it loses, as it has
//! removed fewer. For that to hold, whoever was removed by force stays removed: another node takes its place, under another number. Only those
//! who are certainly waited for may commit: the members of the epoch that they themselves read by. Two sides that remove each
//! other by force are beyond help: what was acknowledged on one of them goes by a ring that is gone.

mod delta;
mod encoded;
mod epoch;
mod placement;
mod progress;
mod wish;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::delta::{Delta, Summary};
pub use self::encoded::InvalidLayout;
use self::epoch::History;
pub use self::epoch::{Epoch, EpochId};
pub use self::placement::Placement;
pub use self::progress::Progress;
pub use self::wish::{Change, Role, Stamp, Wish};
use crate::claim::{self, InvalidPlan, Plan};
use crate::limits::LIVE_EPOCHS_MAX;
use crate::{NodeId, PartitionCount};

/// Why nothing is committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCommit {
    /// Nothing is staged.
    #[error("nothing is staged: the layout is as it was wished")]
    NothingStaged,
    /// What is staged is not what the plan was made for.
    #[error("what is staged has changed since the plan was made: look at the new plan, then commit that")]
    Stale,
    /// The node takes no part in the epoch that it reads by. Nobody may be waiting for it to acknowledge what others commit, so it could commit
    /// a rival of that.
    #[error("{by} takes no part in the cluster yet, or not any more: commit at a member")]
    NotAMember {
        /// Which node.
        by: NodeId,
    },
    /// Too many changes have been committed and not yet been carried out.
    #[error("{LIVE_EPOCHS_MAX} changes are being carried out: wait until one of them is done")]
    TooManyLive,
    /// There is no ring of those who would be left.
    #[error(transparent)]
    Plan(#[from] InvalidPlan),
}

/// One node's copy of the layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "encoded::Encoded")]
pub struct Layout {
    /// Shared, as the epochs are: copies are made far more often than wishes.
    #[serde(serialize_with = "encoded::shared_pairs")]
    wishes: Arc<BTreeMap<NodeId, Wish>>,
    /// Over them.
    #[serde(skip)]
    wishes_hash: u64,
    /// The live epochs as far as this copy knows, from the oldest; never empty.
    #[serde(serialize_with = "encoded::epochs")]
    epochs: Vec<Arc<Epoch>>,
    #[serde(serialize_with = "encoded::pairs")]
    progress: BTreeMap<NodeId, Progress>,
}

/// What a commit would do, and what it is made for.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The ring, and what it costs to get there.
    pub plan: Plan,
    /// The epoch that it would be.
    pub epoch: Epoch,
}

impl Layout {
    /// The layout of a cluster that begins with these.
    ///
    /// # Errors
    /// [`InvalidPlan`], if there is no ring of them.
    pub fn new(partitions: PartitionCount, n: u8, roles: BTreeMap<NodeId, Role>) -> Result<Self, InvalidPlan> {
        let plan = claim::plan(None, partitions, n, roles.iter().map(|(node, role)| role.member(*node)).collect())?;
        let wish = |(node, role)| (node, Wish { stamp: Stamp { counter: 0, by: node }, change: Change::Take(role) });
        let wishes: BTreeMap<NodeId, Wish> = roles.into_iter().map(wish).collect();
        let epoch = Epoch::new(EpochId::default(), Arc::new(plan.ring), wishes.clone());
        let wishes_hash = wish::hash_of(&wishes);
        Ok(Self { wishes: Arc::new(wishes), wishes_hash, epochs: vec![Arc::new(epoch)], progress: BTreeMap::new() })
    }

    /// Wishes something of a node. It is staged until it is committed, and takes the place of what was wished of that node before.
    pub fn wish(&mut self, by: NodeId, node: NodeId, change: Change) {
        let counter = self.wishes.values().map(|wish| wish.stamp.counter).max().unwrap_or_default() + 1;
        Arc::make_mut(&mut self.wishes).insert(node, Wish { stamp: Stamp { counter, by }, change });
        self.wishes_hash = wish::hash_of(&self.wishes);
    }

    /// Wishes that all stays as the last epoch has it.
    pub fn revert(&mut self, by: NodeId) {
        let staged: Vec<NodeId> = self.staged().map(|(node, _)| node).collect();
        for node in staged {
            let change = self.last().wish(node).map_or(Change::Leave { forced: false }, |wish| wish.change.clone());
            self.wish(by, node, change);
        }
    }

    /// What is wished of a node, staged or fulfilled.
    pub fn wished(&self, node: NodeId) -> Option<&Wish> {
        self.wishes.get(&node).map(|wish| self.last().next(node, wish))
    }

    /// What is wished and not as the last epoch has it, by rising node.
    pub fn staged(&self) -> impl Iterator<Item = (NodeId, &Wish)> {
        let last = self.last();
        self.wishes.iter().map(|(node, wish)| (*node, wish)).filter(move |(node, wish)| last.differs_from(*node, wish))
    }

    /// Whether a commit would do the same as one of another copy.
    pub fn proposes_as(&self, other: &Self) -> bool {
        self.last().id() == other.last().id() && self.wishes == other.wishes
    }

    /// What a commit of all that is staged would do. Where the ring is large and its members are few, this can take a second.
    ///
    /// # Errors
    /// [`InvalidCommit::NothingStaged`] and [`InvalidCommit::Plan`].
    pub fn propose(&self) -> Result<Proposal, InvalidCommit> {
        if self.staged().next().is_none() {
            return Err(InvalidCommit::NothingStaged);
        }
        let last = self.last();
        let fulfilled = |(node, wish): (&NodeId, &Wish)| (*node, last.next(*node, wish).clone());
        let fulfils: BTreeMap<NodeId, Wish> = self.wishes.iter().map(fulfilled).collect();
        let members = encoded::members(&fulfils).collect();
        let plan = claim::plan(Some(&last.ring), last.ring.partitions(), last.ring.replicas(), members)?;
        let epoch = Epoch::new(last.id(), Arc::new(plan.ring.clone()), fulfils);
        Ok(Proposal { plan, epoch })
    }

    /// Commits what was proposed, if it is still what would be, at a node that takes part.
    ///
    /// # Errors
    /// [`InvalidCommit`].
    pub fn commit(&mut self, by: NodeId, proposed: EpochId) -> Result<(), InvalidCommit> {
        if !self.may_commit(by) {
            return Err(InvalidCommit::NotAMember { by });
        }
        if LIVE_EPOCHS_MAX <= self.epochs.len() {
            return Err(InvalidCommit::TooManyLive);
        }
        let Proposal { epoch, .. } = self.propose()?;
        if epoch.id() != proposed {
            return Err(InvalidCommit::Stale);
        }
        self.epochs.push(Arc::new(epoch));
        Ok(())
    }

    /// Whether a node may commit: nobody drops the epoch that it reads by before it says that it reads by a later one, so all wait for it if it
    /// is a member of that.
    pub fn may_commit(&self, node: NodeId) -> bool {
        let reads_by = &self.epochs[self.index_of(self.progress_of(node).reading)];
        reads_by.ring.member(node).is_some() && !self.is_removed(node)
    }

    /// Takes over what another copy has and this one does not. `true` if this one changes.
    pub fn merge(&mut self, other: &Self) -> bool {
        self.join(&other.wishes, &other.progress, &other.epochs)
    }

    fn join(
        &mut self,
        wishes: &BTreeMap<NodeId, Wish>,
        progress: &BTreeMap<NodeId, Progress>,
        epochs: &[Arc<Epoch>],
    ) -> bool {
        let wished = wish::merge(&mut self.wishes, wishes);
        if wished {
            self.wishes_hash = wish::hash_of(&self.wishes);
        }
        let progressed = progress::merge(&mut self.progress, progress);
        let joined = epoch::join(&self.history(), &History::of(epochs), |epoch| epoch.id());
        let replaced = !joined.iter().map(|epoch| epoch.id()).eq(self.ids());
        self.epochs = joined;
        let dropped = self.drop_epochs();
        wished || progressed || replaced || dropped
    }

    /// The live epochs, from the oldest. Writes need their quorum in each.
    pub fn live(&self) -> &[Arc<Epoch>] {
        &self.epochs
    }

    fn history(&self) -> History<'_, Arc<Epoch>> {
        History::of(&self.epochs)
    }

    /// The last epoch that was committed.
    pub fn last(&self) -> &Epoch {
        self.epochs.last().expect("there is always one")
    }

    /// The epoch that this node reads by: the newest that all have synced, as far as this copy knows.
    pub fn reads_by(&self) -> &Epoch {
        // What anybody reads by all had synced, though one of them may have lost its disk since.
        &self.epochs
            [self.come_to_by_all(|progress| progress.synced).max(self.come_to_by_any(|progress| progress.reading))]
    }

    /// How far a node says it is. One that has said nothing is where the oldest live epoch is.
    pub fn progress_of(&self, node: NodeId) -> Progress {
        self.progress.get(&node).copied().unwrap_or_default()
    }

    /// This node's writes go to the replicas of all live epochs, and none that does not is under way. Gives whether that says anything new.
    pub fn acknowledge(&mut self, own: NodeId) -> bool {
        let last = self.last().id();
        self.say(own, |progress| progress.acknowledged = last)
    }

    /// The newest epoch that all have acknowledged: what of it this node does not hold yet can be received from now on.
    pub fn acknowledged_by_all(&self) -> &Epoch {
        &self.epochs
            [self.come_to_by_all(|progress| progress.acknowledged).max(self.come_to_by_any(|progress| progress.synced))]
    }

    /// This node has received all that it holds in an epoch, and began after all had acknowledged that; or has lost it again, and says so with
    /// an older one. Gives whether that says anything new.
    ///
    /// # Panics
    /// If not all have acknowledged it.
    pub fn note_synced(&mut self, own: NodeId, epoch: EpochId) -> bool {
        let acknowledged = self.acknowledged_by_all().number();
        assert!(epoch.number <= acknowledged, "what is written meanwhile would be missing");
        self.say(own, |progress| progress.synced = epoch)
    }

    /// This node reads by the epoch that [`Self::reads_by`] gives, and no read by an older one is under way. Gives whether that says anything
    /// new.
    pub fn note_reading(&mut self, own: NodeId) -> bool {
        let epoch = self.reads_by().id();
        let new = self.say(own, |progress| progress.reading = epoch);
        self.drop_epochs();
        new
    }

    fn say(&mut self, own: NodeId, what: impl FnOnce(&mut Progress)) -> bool {
        let before = self.progress_of(own);
        let mut progress = before;
        what(&mut progress);
        if progress == before {
            return false;
        }
        progress.sequence += 1;
        self.progress.insert(own, progress);
        true
    }

    /// Those who may write or read by a live epoch, but for those that were removed by force: nobody waits for these any more.
    pub fn waited_for(&self) -> BTreeSet<NodeId> {
        self.members().filter(|node| !self.is_removed(*node)).collect()
    }

    /// The members of all live epochs; those of several, several times.
    fn members(&self) -> impl Iterator<Item = NodeId> + use<'_> {
        self.epochs.iter().flat_map(|epoch| epoch.ring.members()).map(|member| member.node)
    }

    /// Whether a node was removed by force, and so stays removed.
    pub fn is_removed(&self, node: NodeId) -> bool {
        self.last().is_removed(node)
    }

    /// Where an epoch is among the live ones. One that is not there lost against a rival, or was dropped: the oldest, which all have
    /// come to.
    fn index_of(&self, epoch: EpochId) -> usize {
        self.epochs.iter().position(|live| live.id() == epoch).unwrap_or_default()
    }

    /// Where the newest epoch is among the live ones that all who are waited for have come to.
    fn come_to_by_all(&self, step: impl Fn(&Progress) -> EpochId) -> usize {
        let mut least = self.epochs.len() - 1;
        for node in self.members() {
            if least == 0 {
                return 0;
            }
            let come_to = self.progress.get(&node).map_or(0, |progress| self.index_of(step(progress)));
            if come_to < least && !self.is_removed(node) {
                least = come_to;
            }
        }
        // What they said of epochs before the last removal by force does not count: they may have left these since for a rival, and come back to
        // them with the removal.
        let removal = self.epochs.partition_point(|epoch| epoch.removed() < self.last().removed());
        if least < removal { 0 } else { least }
    }

    /// Where the newest epoch is among the live ones that anybody has come to.
    fn come_to_by_any(&self, step: impl Fn(&Progress) -> EpochId) -> usize {
        self.progress.values().map(|progress| self.index_of(step(progress))).max().unwrap_or_default()
    }

    /// `true` if that is any.
    fn drop_epochs(&mut self) -> bool {
        let oldest = self.come_to_by_all(|progress| progress.reading);
        self.epochs.drain(..oldest);
        0 < oldest
    }
}
