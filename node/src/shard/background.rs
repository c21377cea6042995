//! Background work waits while the budget of it is spent; how large that is, is [`crate::admission::pacer`].
//!
//! What waits are the messages of anti-entropy that ask for much or bring much, on both sides: a peer that catches up is paced by who
//! answers it, and does not drown in what many bring it. Comparisons of clocks are next to nothing, and never wait. Deliveries of hints and
//! the pages of the scrub wait where they begin.

use quorate_ring::NodeId;
use quorate_ring::wire::{HintMessage, PeerMessage, SyncMessage};

use super::{Shard, Timer};
use crate::Time;
use crate::admission::waiting::Kind;
use crate::replica::{Page, bytes_of};

impl Shard {
    /// Takes what a peer says about anti-entropy, now or when the budget allows it.
    pub(super) fn admit_sync(&mut self, now: Time, from: NodeId, message: SyncMessage) {
        let Some(kind) = kind_of(&message) else { return self.handle_sync(now, from, message) };
        if self.background.is_empty() && self.pacer.waits_until(now).is_none() {
            return self.work_in_background(now, from, message);
        }
        self.counters.background_waits += 1;
        self.background.push(from, kind, message);
        self.set_background_timer(now);
    }

    /// The budget may allow something now.
    pub(super) fn handle_background_timer(&mut self, now: Time) {
        self.background_timer = None;
        while self.pacer.waits_until(now).is_none()
            && let Some((from, message)) = self.background.pop()
        {
            self.work_in_background(now, from, message);
        }
        self.set_background_timer(now);
    }

    /// When a batch of background work that begins now would have to wait until; `None` if it need not.
    pub(super) fn background_waits(&mut self, now: Time) -> Option<Time> {
        self.pacer.waits_until(now)
    }

    /// Notes that this is sent: what is background work of it is spent.
    pub(super) fn note_background(&mut self, message: &PeerMessage) {
        match message {
            PeerMessage::Sync(message @ (SyncMessage::Fetched { .. } | SyncMessage::Transferred { .. })) => {
                self.pacer.spend(bytes_in_message(message));
            }
            PeerMessage::Hint(HintMessage::Hand { hints, .. }) if !hints.is_empty() => {
                self.pacer.spend(hints.iter().map(|hint| bytes_of(&hint.container)).sum());
            }
            _ => {}
        }
    }

    /// A page was read for a scrub.
    pub(super) fn note_page(&mut self, page: &Page) {
        self.pacer.spend(page.objects.iter().map(|object| bytes_of(&object.container)).sum());
    }

    fn work_in_background(&mut self, now: Time, from: NodeId, message: SyncMessage) {
        self.pacer.spend(bytes_in_message(&message));
        self.handle_sync(now, from, message);
    }

    /// Sets the time at which the next of those that wait may be worked on; none if none waits.
    fn set_background_timer(&mut self, now: Time) {
        let wanted = match self.background.is_empty() {
            true => None,
            false => Some(self.pacer.waits_until(now).unwrap_or(now)),
        };
        if wanted != self.background_timer {
            self.background_timer.map(|at| self.timers.remove(&(at, Timer::Background)));
            wanted.map(|at| self.timers.insert((at, Timer::Background)));
            self.background_timer = wanted;
        }
    }

    /// The connection to a peer is gone: nothing of it waits any more.
    pub(super) fn forget_background(&mut self, now: Time, peer: NodeId) {
        self.background.forget(peer);
        self.set_background_timer(now);
    }
}

/// What a message is that is much work; nothing for one that is little.
const fn kind_of(message: &SyncMessage) -> Option<Kind> {
    match message {
        SyncMessage::Fetch { .. } | SyncMessage::Transfer { .. } => Some(Kind::Question),
        SyncMessage::Fetched { .. } | SyncMessage::Transferred { .. } => Some(Kind::Answer),
        SyncMessage::Compare { .. } | SyncMessage::Compared { .. } => None,
    }
}

/// The bytes of the values in a message. What a question costs is counted when its answer is sent.
fn bytes_in_message(message: &SyncMessage) -> usize {
    match message {
        SyncMessage::Fetched { pieces, .. } => {
            pieces.iter().flat_map(|piece| &piece.objects).map(|object| bytes_of(&object.container)).sum()
        }
        SyncMessage::Transferred { page: Ok(page), .. } => {
            page.objects.iter().map(|object| bytes_of(&object.container)).sum()
        }
        _ => 0,
    }
}
