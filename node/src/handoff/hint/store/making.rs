//! Write events that a fallback makes in the place of the primaries, none of which can be reached.

use quorate_ring::limits::HAND_DOTS_MAX;
use quorate_ring::version::{Container, Dot, VersionVector};
use quorate_ring::wire::{Durability, ReplicaError};
use quorate_ring::{NodeId, ObjectKey, Position, StoredValue};

use super::{HintReport, HintStore, Hints, Prepared, Submitted, Told, merged};
use crate::Time;
use crate::coordinator::CoordinationId;
use crate::replica::{Asker, Event, Report, WriteRefusal, refuse_too_many};
use crate::storage::{Batch, Operation};

impl HintStore {
    /// Makes a write event upon all that is kept of the key, and keeps it for every primary.
    pub(super) fn make(
        &mut self,
        now: Time,
        key: &ObjectKey,
        hints: &mut Hints,
        coordination: CoordinationId,
        (event, context, durability): (Event, &VersionVector, Durability),
    ) -> Option<Told> {
        let (dot, container, prepared) = match self.prepare(key, hints, event, context) {
            Ok(prepared) => prepared,
            Err(reason) => {
                self.reports.push_back(HintReport::Of(Report::Refused { coordination, reason }));
                return None;
            }
        };
        self.tenures.issued(self.placement.partition_of(Position::of(key)), key, dot);
        let mut batch = Batch::default();
        for hint in prepared {
            self.put(now, key, hints, hint, &mut batch);
        }
        self.submit(Operation::Write { batch, durability }, Submitted::Key(key.clone()));
        self.reports.push_back(HintReport::Of(Report::Made { coordination, dot, container }));
        Some(Told::Asker(Asker::Coordinator(coordination)))
    }

    /// The event, the key's container with it, and the hints to keep of it: or why it cannot be made, before anything is done.
    fn prepare(
        &mut self,
        key: &ObjectKey,
        hints: &Hints,
        event: Event,
        context: &VersionVector,
    ) -> Result<(Dot, Container<StoredValue>, Vec<Prepared>), WriteRefusal> {
        let partition = self.placement.partition_of(Position::of(key));
        let mut container = merged(hints);
        container.discard(context);
        container.expire(self.wall);
        if let Event::Put(value, _) = &event {
            refuse_too_many(&container, value)?;
        }
        let dot = self.tenures.next(partition, key, container.vector());
        match event {
            Event::Put(value, ttl) => {
                let expires_at = ttl.map(|ttl| self.wall + ttl.duration());
                container.add(dot, StoredValue { value, expires_at });
            }
            Event::Delete => container.record(dot),
        }
        let mut prepared = Vec::new();
        for target in self.placement.primaries(partition) {
            prepared.push(with_event(target, key, hints, &container, dot)?);
        }
        if !self.counts.has_room(prepared.iter().map(|hint| hint.change(hints))) {
            return Err(WriteRefusal::HintsFull);
        }
        Ok((dot, container, prepared))
    }
}

/// What is kept of a key for a node, with a further event.
fn with_event(
    target: NodeId,
    key: &ObjectKey,
    hints: &Hints,
    container: &Container<StoredValue>,
    dot: Dot,
) -> Result<Prepared, WriteRefusal> {
    let mut hint = hints.get(&target).map(|(hint, _)| hint.clone()).unwrap_or_default();
    hint.merge(container.clone(), [dot]);
    if HAND_DOTS_MAX < hint.dots.len() {
        return Err(WriteRefusal::Replica(ReplicaError::Overloaded));
    }
    Ok(Prepared::new(target, key, hint))
}
