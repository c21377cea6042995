//! The first shard of a node keeps the node's copy of the layout ([`Keeper`]), talks about it with peers, and tells the other shards who holds what.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_ring::layout::{Delta, EpochId, Layout, Summary};
use quorate_ring::version::Container;
use quorate_ring::wire::{
    Durability, LayoutChange, LayoutMessage, PeerMessage, Protocol, ReplicaError, RequestError, Response, SyncMessage,
};
use quorate_ring::{NodeId, StoredValue};
use rand::RngExt;

use super::requests::invalid;
use super::{Output, Shard, Timer};
use crate::Time;
use crate::coordinator::ReplyTo;
use crate::limits::{
    LAYOUT_FANOUT, LAYOUT_INTERVAL, LAYOUT_PARKED_BYTES_MAX, LAYOUT_PARKED_MAX, LAYOUT_PAUSE_PER_MEMBER,
};
use crate::membership::keeper::Keeper;
use crate::replica::bytes_of;
use crate::replica::layout;
use crate::storage::{Batch, Column, Completion, Operation, OperationId, Owner, StorageError};

/// How far a shard has come from one placement to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All requests by an older placement are over: all that are under way, and all to come, go by these epochs, or newer ones.
    Settled {
        /// Writes go to all up to this.
        last: EpochId,
        /// Reads go by this.
        reads_by: EpochId,
    },
    /// All that the shard holds by an epoch is here, and on the disk.
    Synced(EpochId),
}

/// The first shard's part of the layout.
#[derive(Default)]
pub(super) struct Keeping {
    /// Nothing in a shard that is not the first, or whose members never change.
    keeper: Option<Keeper>,
    /// What is spoken with each peer that is connected.
    pub(super) protocols: BTreeMap<NodeId, Protocol>,
    /// Who is answered when what they asked for is stored.
    asked: Vec<ReplyTo>,
    /// Whose is being stored.
    stored_for: Vec<ReplyTo>,
    /// Why the store takes nothing more, if it has said so.
    failed: Option<String>,
    operation_next: u64,
    /// When a peer is told next which copy this is.
    due: Option<Time>,
    /// When some are told that it has changed, if it has since they were told last.
    telling_at: Option<Time>,
    /// When they were told last.
    told_at: Option<Time>,
}

impl Keeping {
    pub(super) fn of(keeper: Option<Keeper>) -> Self {
        Self { keeper, ..Self::default() }
    }
}

impl Shard {
    /// This node's copy of the layout, if this shard keeps it.
    pub fn layout(&self) -> Option<&Layout> {
        self.keeping.keeper.as_ref().map(Keeper::told)
    }

    /// What tells that copy from others, and so whether it has changed.
    pub fn layout_hash(&self) -> Option<u64> {
        self.keeping.keeper.as_ref().map(Keeper::hash)
    }

    /// A shard has come further: this one, or another of the node's.
    pub(super) fn handle_progress(&mut self, shard: u8, progress: Progress) {
        let Some(keeper) = &mut self.keeping.keeper else {
            self.outputs.push_back(Output::Progress(progress));
            return;
        };
        match progress {
            Progress::Settled { last, reads_by } => keeper.handle_settled(shard, last, reads_by),
            Progress::Synced(epoch) => keeper.handle_synced(shard, epoch),
        }
    }

    /// A peer tells which copy it has, or sends what is in it.
    pub(super) fn handle_layout_message(&mut self, from: NodeId, message: LayoutMessage) {
        if let LayoutMessage::Digest { last, .. } | LayoutMessage::Epoch { last } = &message {
            self.writes_by.insert(from, *last);
        }
        let protocol = self.keeping.protocols.get(&from).copied();
        let Some(keeper) = &mut self.keeping.keeper else { return };
        let told = |keeper: &Keeper| Box::new(keeper.told().clone());
        let answer = match message {
            LayoutMessage::Digest { hash, .. } if hash == keeper.hash() => None,
            // Whose connection is gone is told when it is back.
            LayoutMessage::Digest { .. } => protocol.map(|protocol| match protocol.has_layout_deltas() {
                true => LayoutMessage::Summary(Box::new(keeper.summary())),
                false => LayoutMessage::Copy(told(keeper)),
            }),
            LayoutMessage::Epoch { .. } => None,
            LayoutMessage::Copy(copy) => keeper.merge(*copy).then(|| LayoutMessage::Back(told(keeper))),
            LayoutMessage::Back(copy) => {
                keeper.merge(*copy);
                None
            }
            LayoutMessage::Summary(other) => {
                let summary = keeper.lacks(&other).then(|| keeper.summary());
                difference(keeper.delta(&other), summary)
            }
            LayoutMessage::Delta { delta, summary } => {
                if let Some(delta) = delta {
                    keeper.apply(&delta);
                }
                summary.and_then(|other| difference(keeper.delta(&other), None))
            }
        };
        if let Some(answer) = answer {
            self.send(from, PeerMessage::Layout(answer));
        }
    }

    /// Whether a peer's requests may go by an epoch that is older than one which all have acknowledged, or by a rival of that, as one's may that lost
    /// its disk, or takes no part any more, or not yet, and hears of nothing: its writes would not be where they are read, nor its reads where it was written. It will hear of
    /// the later one soon.
    pub(super) fn goes_by_an_older_epoch(&self, peer: NodeId) -> bool {
        let writes_by = self.writes_by.get(&peer).copied().unwrap_or_default();
        FOUNDING < self.placement.acknowledged() && writes_by < self.placement.acknowledged()
    }

    /// Whether an epoch has followed the first.
    pub(super) fn members_have_changed(&self) -> bool {
        FOUNDING < self.placement.last_epoch().number
    }

    /// Whether a write is to wait until this shard hears of the epoch that its coordinator goes by: by that it may be to hold it.
    pub(super) fn has_room_to_park(&self, from: NodeId, container: &Container<StoredValue>) -> bool {
        let bytes = |message: &PeerMessage| match message {
            PeerMessage::Replicate { container, .. } => bytes_of(container),
            _ => 0,
        };
        let parked: usize = self.parked.iter().map(|(_, message)| bytes(message)).sum();
        self.writes_by.get(&from).is_some_and(|last| self.placement.last_epoch().number < *last)
            && self.parked.len() < LAYOUT_PARKED_MAX
            && parked + bytes_of(container) <= LAYOUT_PARKED_BYTES_MAX
    }

    /// A peer that is further asks to compare. It is answered when this shard has heard what the peer has, which it asks for; a silence would last
    /// until the peer gives up.
    pub(super) fn park_comparison(&mut self, from: NodeId, question: SyncMessage) {
        let is_older = |(node, message): &(NodeId, PeerMessage)| {
            *node == from && matches!(message, PeerMessage::Sync(SyncMessage::Compare { .. }))
        };
        self.parked.retain(|parked| !is_older(parked));
        if self.parked.len() < LAYOUT_PARKED_MAX {
            self.parked.push((from, PeerMessage::Sync(question)));
            self.tell_layout_to(from);
        }
    }

    /// A peer did not take a request: by which epoch this shard's go it may not have heard.
    pub(super) fn note_refused<T>(&mut self, peer: NodeId, result: &Result<T, ReplicaError>) {
        if self.members_have_changed() && matches!(result, Err(ReplicaError::NotResponsible)) && peer != self.own() {
            self.tell_epoch_to(peer);
        }
    }

    /// Tells a peer by which epoch this node's requests go.
    fn tell_epoch_to(&mut self, peer: NodeId) {
        let last = self.placement.goes_by(self.own());
        self.send(peer, PeerMessage::Layout(LayoutMessage::Epoch { last }));
    }

    /// A client asks for the layout.
    pub(super) fn show_layout(&mut self, reply_to: ReplyTo) -> Result<(), RequestError> {
        let layout = self.layout().cloned().ok_or_else(|| invalid(FIXED))?;
        self.reply(reply_to, Ok(Response::Layout(Box::new(layout))));
        Ok(())
    }

    /// A client asks for a change of the layout. It is answered when that is on the disk.
    pub(super) fn change_layout(&mut self, reply_to: ReplyTo, change: LayoutChange) -> Result<(), RequestError> {
        if let Some(reason) = self.keeping.failed.clone() {
            return Err(RequestError::StorageFailed { node: self.own(), reason });
        }
        let keeper = self.keeping.keeper.as_mut().ok_or_else(|| invalid(FIXED))?;
        keeper.change(change).map_err(invalid)?;
        self.keeping.asked.push(reply_to);
        Ok(())
    }

    /// Stores what has changed, and now and then tells a peer what there is.
    pub(super) fn drive_layout(&mut self, now: Time) {
        let Some(keeper) = &mut self.keeping.keeper else { return };
        if let Some(encoded) = keeper.poll_store() {
            let mut batch = Batch::default();
            batch.put(Column::Metadata, layout::copy(), encoded);
            self.keeping.operation_next += 1;
            let id = OperationId::new(Owner::Layout, self.keeping.operation_next);
            let operation = Operation::Write { batch, durability: Durability::Synced };
            self.outputs.push_back(Output::Store { id, operation });
            self.keeping.stored_for.append(&mut self.keeping.asked);
        } else if !keeper.is_storing() {
            // What they asked for was so already.
            let waiting = std::mem::take(&mut self.keeping.asked);
            self.answer_changed(waiting);
        }
        if self.keeping.telling_at.is_some_and(|at| at <= now) {
            (self.keeping.telling_at, self.keeping.told_at) = (None, Some(now));
            self.tell_layout(LAYOUT_FANOUT);
        }
        if self.keeping.due.is_none_or(|due| due <= now) {
            if self.keeping.due.is_some() {
                self.tell_layout(1);
            }
            let due = now + LAYOUT_INTERVAL.mul_f64(self.random.random_range(0.75..1.25));
            self.keeping.due = Some(due);
            self.timers.insert((due, Timer::Layout));
        }
    }

    /// The copy is stored, or could not be.
    pub(super) fn layout_stored(&mut self, now: Time, result: Result<Completion, StorageError>) {
        let Some(keeper) = &mut self.keeping.keeper else { return };
        let mut waiting = std::mem::take(&mut self.keeping.stored_for);
        if let Err(error) = result {
            waiting.append(&mut self.keeping.asked);
            // Nothing that changes is told any more either.
            let (node, reason) = (self.own(), error.to_string());
            self.keeping.failed = Some(reason.clone());
            let failed = || Err(RequestError::StorageFailed { node, reason: reason.clone() });
            return waiting.into_iter().for_each(|reply_to| self.reply(reply_to, failed()));
        }
        keeper.handle_stored();
        let placement = Arc::new(keeper.placement());
        let last = self.placement.goes_by(self.own());
        if placement != self.placement {
            self.outputs.push_back(Output::Placement(placement.clone()));
            self.handle_placement(now, placement);
        }
        if last != self.placement.goes_by(self.own()) {
            let peers: Vec<NodeId> = self.connected.iter().copied().collect();
            peers.into_iter().for_each(|peer| self.tell_epoch_to(peer));
        }
        self.tell_layout_soon(now);
        self.answer_changed(waiting);
    }

    /// Some are told that the copy has changed: at once, or with all that changes until they may be told again.
    fn tell_layout_soon(&mut self, now: Time) {
        if self.keeping.telling_at.is_some() {
            return;
        }
        let members = u32::try_from(self.placement.last().members().len()).expect("few");
        let pause = LAYOUT_PAUSE_PER_MEMBER * members;
        let at = self.keeping.told_at.map_or(now, |told_at| now.max(told_at + pause));
        self.keeping.telling_at = Some(at);
        if now < at {
            self.timers.insert((at, Timer::Layout));
        }
    }

    fn answer_changed(&mut self, waiting: Vec<ReplyTo>) {
        for reply_to in waiting {
            let layout = self.layout().cloned().expect("who keeps none is not asked");
            self.reply(reply_to, Ok(Response::Layout(Box::new(layout))));
        }
    }

    /// Tells some peers which copy this is.
    fn tell_layout(&mut self, peers: usize) {
        let mut left: Vec<NodeId> = self.connected.iter().copied().collect();
        for _ in 0..peers.min(left.len()) {
            let chosen = left.swap_remove(self.random.random_range(0..left.len()));
            self.tell_layout_to(chosen);
        }
    }

    pub(super) fn tell_layout_to(&mut self, peer: NodeId) {
        if let Some(keeper) = &self.keeping.keeper {
            let (hash, last) = (keeper.hash(), self.placement.goes_by(self.own()));
            self.send(peer, PeerMessage::Layout(LayoutMessage::Digest { hash, last }));
        }
    }
}

/// What is sent to who lacks something, or has something; nothing if neither.
fn difference(delta: Option<Delta>, summary: Option<Summary>) -> Option<LayoutMessage> {
    let (delta, summary) = (delta.map(Box::new), summary.map(Box::new));
    (delta.is_some() || summary.is_some()).then_some(LayoutMessage::Delta { delta, summary })
}

/// The number of a cluster's first epoch.
const FOUNDING: u64 = 1;
const FIXED: &str = "the members of this cluster are fixed by its configuration";
