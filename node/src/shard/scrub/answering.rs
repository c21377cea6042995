//! The scrub, the answering side: reads what a peer asks about and says what there is. Nothing is kept between two questions.

use quorate_ring::limits::{SCRUB_BYTES_MAX, SCRUB_KEYS_MAX};
use quorate_ring::version::NodeClock;
use quorate_ring::wire::{
    ExchangeId, HeldObject, Likeness, NamedKeys, ReplicaError, ReplicaRead, ScrubMessage, ScrubObjects, ScrubRange,
};
use quorate_ring::{NodeId, ObjectKey};

use crate::Time;
use crate::handoff::hint::store::HintOperation;
use crate::limits::{SCRUB_PAGE_KEYS, SCRUB_QUESTIONS_MAX, SCRUB_TIMEOUT};
use crate::replica::{Asker, KeyOperation, Page};
use crate::scrub::fingerprint;
use crate::shard::Shard;

impl Shard {
    /// A peer's scrub asks something.
    pub(super) fn handle_scrub_question(&mut self, now: Time, from: NodeId, question: ScrubMessage) {
        let exchange = question.exchange();
        let range = match &question {
            ScrubMessage::Ask { key, .. } => return self.read_for_scrub(now, from, exchange, key.clone()),
            ScrubMessage::Compare { range, .. } | ScrubMessage::Fetch { range, .. } => range.clone(),
            ScrubMessage::Name { partition, after, .. } => {
                ScrubRange { partition: *partition, after: after.clone(), through: None }
            }
            // Answers are none of this side's.
            _ => return,
        };
        let exists = u32::from(range.partition.number()) < self.placement.partitions().get();
        let inside = range.after.iter().chain(&range.through).all(|key| self.partition_of(key) == range.partition);
        if !exists || !inside || !self.placement.is_primary(self.own(), range.partition) {
            return self.refuse_scrub(from, &question, ReplicaError::NotResponsible);
        }
        if SCRUB_QUESTIONS_MAX <= self.scrub.questions.len() {
            return self.refuse_scrub(from, &question, ReplicaError::Overloaded);
        }
        let keys = match question {
            ScrubMessage::Name { .. } => SCRUB_PAGE_KEYS as usize,
            _ => SCRUB_KEYS_MAX,
        };
        self.scrub.questions.insert((from, exchange), question);
        let asker = Asker::Scrubber { node: from, exchange };
        self.replica.handle_range(asker, &range, keys, SCRUB_BYTES_MAX);
    }

    fn refuse_scrub(&mut self, to: NodeId, question: &ScrubMessage, error: ReplicaError) {
        let exchange = question.exchange();
        let answer = match question {
            ScrubMessage::Compare { .. } => ScrubMessage::Compared { exchange, outcome: Likeness::Unlike },
            ScrubMessage::Fetch { .. } => ScrubMessage::Fetched { exchange, objects: Err(error) },
            _ => ScrubMessage::Named { exchange, result: Err(error) },
        };
        self.send_scrub(to, answer);
    }

    /// A page was read for a peer's scrub.
    pub(in crate::shard) fn scrub_page_read(
        &mut self,
        node: NodeId,
        exchange: ExchangeId,
        result: Result<Page, ReplicaError>,
    ) {
        let Some(question) = self.scrub.questions.remove(&(node, exchange)) else { return };
        let page = match result {
            Ok(page) => page,
            Err(error) => return self.refuse_scrub(node, &question, error),
        };
        self.note_page(&page);
        let wall = self.wall();
        let same_clock = |clock: u64| page.complete && fingerprint::of_clock(&page.clock) == clock;
        let base = page.clock.base();
        let answer = match question {
            ScrubMessage::Compare { clock, hash, .. } => {
                let outcome = match (same_clock(clock), fingerprint::of_page(&page.objects, base, wall)) {
                    (false, _) => Likeness::Unlike,
                    (true, hashes) if page.last && fingerprint::of_hashes(&hashes) == hash => Likeness::Same,
                    (true, _) => Likeness::Different,
                };
                ScrubMessage::Compared { exchange, outcome }
            }
            ScrubMessage::Fetch { clock, known, .. } => {
                let objects = match same_clock(clock) {
                    true => fingerprint::unknown(page.objects, base, wall, known),
                    false => Vec::new(),
                };
                ScrubMessage::Fetched { exchange, objects: Ok(ScrubObjects(objects)) }
            }
            _ => {
                let keys = page.objects.into_iter().map(|object| object.key).collect();
                ScrubMessage::Named { exchange, result: Ok(NamedKeys { keys, last: page.last }) }
            }
        };
        self.send_scrub(node, answer);
    }

    /// A peer cannot read a key: reads it here, or what is kept of it for others.
    fn read_for_scrub(&mut self, now: Time, from: NodeId, exchange: ExchangeId, key: ObjectKey) {
        let (asker, deadline) = (Asker::Scrubber { node: from, exchange }, now + SCRUB_TIMEOUT);
        if self.placement.is_primary(self.own(), self.partition_of(&key)) {
            return self.replica.handle_key(key, KeyOperation::Read { asker, deadline });
        }
        self.hints.store.handle_key(key, HintOperation::Read { asker, deadline });
    }

    /// What is kept of a key for others was read for a peer's scrub; or a replica of it could not be. Hints account for no event but those in
    /// them.
    pub(in crate::shard) fn scrub_hints_read(
        &mut self,
        node: NodeId,
        exchange: ExchangeId,
        result: Result<ReplicaRead, ReplicaError>,
    ) {
        let held = result.map(|read| HeldObject { container: read.container, clock: NodeClock::new() });
        self.send_held(node, exchange, held);
    }

    pub(in crate::shard) fn send_held(
        &mut self,
        to: NodeId,
        exchange: ExchangeId,
        result: Result<HeldObject, ReplicaError>,
    ) {
        self.send_scrub(to, ScrubMessage::Held { exchange, result });
    }
}
