//! Handing over what is kept for one node, a batch at a time.

use std::time::Duration;

use quorate_ring::limits::HAND_BYTES_MAX;
use quorate_ring::wire::ExchangeId;
use quorate_ring::{NodeId, ObjectKey, PartitionId};

use super::layout::StoredHint;
use crate::Time;
use crate::limits::{HAND_BYTES_FIRST, HAND_PAUSE, HAND_TIMEOUT, HAND_TIMEOUT_MAX};

/// The delivery of what is kept for one node.
///
/// ```text
///          begin            page                taken                    all gone, or changed
/// Resting ──────▶ Reading ──────▶ Handing ──────────────▶ Settling ──────────────────────────▶ Resting (until the pause is over)
///    ▲               │ nothing      │ refused, no answer, or connection gone
///    └───────────────┴──────────────┘
/// ```
///
/// It goes in ring order, partition by partition: so one partition after the other is whole again, and both disks work in order. A
/// *pass* begins with the first partition and ends with the last; what was kept when it began is then delivered, unless something
/// was refused.
#[derive(Debug)]
pub struct Delivery {
    state: State,
    /// Behind what the pass has come to; `None` at its end.
    cursor: Option<Cursor>,
    /// How many bytes the next batch may have: what the node said last.
    grant_bytes: u32,
    /// How often in a row there was no answer.
    silences: u32,
    /// The pass under way, if nothing of it was refused.
    clean_since: Option<(u64, Time)>,
}

/// How far a pass has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// In this partition,
    pub partition: PartitionId,
    /// behind this key.
    pub after: Option<ObjectKey>,
}

impl Cursor {
    const fn start() -> Self {
        Self { partition: PartitionId::new(0), after: None }
    }

    /// The next partition's begin, if there can be one.
    fn next_partition(self) -> Option<Self> {
        self.partition.number().checked_add(1).map(|next| Self { partition: PartitionId::new(next), after: None })
    }
}

#[derive(Debug)]
enum State {
    Resting { until: Option<Time> },
    Reading { to: NodeId },
    Handing { to: NodeId, exchange: ExchangeId, sent: Vec<(ObjectKey, StoredHint)>, last: bool, until: Time },
    Settling { left: usize, until: Time },
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            state: State::Resting { until: None },
            cursor: Some(Cursor::start()),
            grant_bytes: HAND_BYTES_FIRST,
            silences: 0,
            clean_since: None,
        }
    }
}

impl Delivery {
    /// Whether the next batch may be read now.
    pub fn is_ready(&self, now: Time) -> bool {
        matches!(&self.state, State::Resting { until } if until.is_none_or(|until| until <= now))
    }

    /// Up to when it waits: for an answer, or for its pause to be over.
    pub fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::Resting { until } => *until,
            State::Handing { until, .. } => Some(*until),
            State::Reading { .. } | State::Settling { .. } => None,
        }
    }

    /// Where it goes on; `None` at the end of a pass.
    pub const fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    /// How many bytes the next batch may have.
    pub const fn grant_bytes(&self) -> u32 {
        self.grant_bytes
    }

    /// Begins to read a batch that goes to this node: of the cursor's partition, or of a later one. `sequence` is up to which all hints can
    /// be read; nothing while it is not known yet what is kept, for then a pass does not go to all.
    pub fn handle_begin(&mut self, now: Time, partition: PartitionId, to: NodeId, sequence: Option<u64>) {
        if self.cursor == Some(Cursor::start()) {
            self.clean_since = sequence.map(|sequence| (sequence, now));
        }
        if self.cursor.as_ref().is_none_or(|cursor| cursor.partition != partition) {
            self.cursor = Some(Cursor { partition, after: None });
        }
        self.state = State::Reading { to };
    }

    /// A partition is passed over, since nobody can be reached who would take its hints.
    pub fn pass_over(&mut self, partition: PartitionId) {
        self.clean_since = None;
        self.cursor = Some(Cursor { partition, after: None });
        self.leave_partition();
    }

    /// Comes to the end of a pass: the next one begins at the start. Gives the number and time of which everything before is delivered,
    /// if so.
    pub fn handle_end(&mut self, now: Time) -> Option<(u64, Time)> {
        let clean = self.clean_since.take();
        self.cursor = Some(Cursor::start());
        // What stays was changed, is refused, or came meanwhile: it can wait a moment.
        self.state = State::Resting { until: Some(now + HAND_PAUSE) };
        clean
    }

    /// Takes a page that was read; gives the node to hand it to, and what. Nothing if there is nothing.
    pub fn handle_page(
        &mut self,
        now: Time,
        exchange: ExchangeId,
        read: Option<(Vec<(ObjectKey, StoredHint)>, bool)>,
    ) -> Option<(NodeId, &[(ObjectKey, StoredHint)])> {
        let State::Reading { to } = self.state else { return None };
        self.state = State::Resting { until: None };
        let (sent, last) = read.unwrap_or_else(|| {
            self.clean_since = None;
            (Vec::new(), true)
        });
        if sent.is_empty() {
            self.leave_partition();
            return None;
        }
        let timeout = HAND_TIMEOUT.saturating_mul(1 << self.silences.min(8)).min(HAND_TIMEOUT_MAX);
        self.state = State::Handing { to, exchange, sent, last, until: now + timeout };
        match &self.state {
            State::Handing { sent, .. } => Some((to, sent.as_slice())),
            _ => None,
        }
    }

    /// Takes the answer: so many are stored, so many bytes may come after the pause. Gives the hints that are delivered.
    pub fn handle_taken(
        &mut self,
        now: Time,
        (stored, grant_bytes, pause): (u32, u32, Duration),
    ) -> Vec<(ObjectKey, StoredHint)> {
        let State::Handing { mut sent, last, .. } = self.rest(None) else { return Vec::new() };
        (self.silences, self.grant_bytes) = (0, grant_bytes.clamp(1, HAND_BYTES_MAX));
        let stored = sent.len().min(stored as usize);
        let complete = stored == sent.len();
        // One that was not stored is passed over: it must not keep back all that are behind it.
        let done = stored.min(sent.len() - 1);
        if let Some(cursor) = &mut self.cursor {
            cursor.after = Some(sent[done].0.clone());
        }
        let last = last && done + 1 == sent.len();
        sent.truncate(stored);
        if !complete {
            self.clean_since = None;
        }
        if last {
            self.leave_partition();
        }
        self.state = match stored {
            0 => State::Resting { until: Some(now + pause) },
            left => State::Settling { left, until: now + pause },
        };
        sent
    }

    /// Takes a refusal of the whole batch.
    pub fn handle_refused(&mut self, now: Time) {
        self.give_up(Some(now + HAND_PAUSE));
        self.leave_partition();
    }

    /// A delivered hint is gone, or stays because it has changed.
    pub fn handle_settled(&mut self) {
        if let State::Settling { left, until } = &mut self.state {
            *left -= 1;
            if *left == 0 {
                self.state = State::Resting { until: Some(*until) };
            }
        }
    }

    /// Others hold what is kept: what was handed over is to go to one of them, though its taker may have stored it.
    pub fn handle_placement(&mut self) {
        if matches!(self.state, State::Handing { .. }) {
            self.give_up(None);
        }
    }

    /// Whom what is being read, or was handed over, is for.
    pub const fn taker(&self) -> Option<NodeId> {
        match &self.state {
            State::Reading { to } | State::Handing { to, .. } => Some(*to),
            State::Resting { .. } | State::Settling { .. } => None,
        }
    }

    /// The connection to a node is gone.
    pub fn handle_disconnected(&mut self, node: NodeId) {
        if let State::Handing { to, .. } | State::Reading { to } = self.state
            && to == node
        {
            self.grant_bytes = HAND_BYTES_FIRST;
            self.give_up(None);
        }
    }

    /// Time has passed: an answer that has not come by now will not be waited for.
    pub fn handle_time(&mut self, now: Time) {
        if let State::Handing { until, .. } = self.state
            && until <= now
        {
            self.silences += 1;
            self.grant_bytes = HAND_BYTES_FIRST;
            self.give_up(None);
        }
    }

    /// Whether it waits for this answer of this node.
    pub fn waits_for(&self, from: NodeId, exchange: ExchangeId) -> bool {
        matches!(&self.state, State::Handing { to, exchange: asked, .. } if (*to, *asked) == (from, exchange))
    }

    fn give_up(&mut self, until: Option<Time>) {
        self.clean_since = None;
        self.rest(until);
    }

    fn rest(&mut self, until: Option<Time>) -> State {
        std::mem::replace(&mut self.state, State::Resting { until })
    }

    fn leave_partition(&mut self) {
        self.cursor = self.cursor.take().and_then(Cursor::next_partition);
    }
}
