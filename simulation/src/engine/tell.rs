//! What the engine tells of a run, if somebody wants its story. Without a recorder all of this is a comparison and nothing else.

use bytes::Bytes;
use quorate_client::Error;
use quorate_node::replica::layout;
use quorate_node::start::Standing;
use quorate_node::storage::{Change, Column};
use quorate_ring::wire::{ClientMessage, NodeMessage, PeerMessage, Request, Response};

use super::{Simulation, index_in_plan, index_of};
use crate::client::Task;
use crate::oracle::Violation;
use crate::oracle::truth::{self, Kind, WriteId};
use crate::story::{
    About, Ending, Failure, Fate, Fault, Held, Recorder, StoreKind, Story, Ticket, Write, WriteKind, direct_parents,
    plan,
};

impl Simulation {
    /// Tells something, if it is wanted.
    pub(super) fn tell(&mut self, what: impl FnOnce(&mut Recorder, u64)) {
        if let Some(recorder) = &mut self.story {
            what(recorder, self.now.as_micros());
        }
    }

    /// Something is said; the ticket tells later what became of it.
    fn said(&mut self, what: impl FnOnce(&mut Recorder, u64) -> Ticket) -> Ticket {
        self.story.as_mut().map_or(Ticket::default(), |recorder| what(recorder, self.now.as_micros()))
    }

    pub(super) fn tell_peer(&mut self, from: usize, to: usize, message: &PeerMessage) -> Ticket {
        let lives = [from, to].map(|node| self.nodes[node].life);
        self.said(|story, at| story.peer_says(at, [from, to], lives, message))
    }

    pub(super) fn tell_request(&mut self, client: usize, node: usize, message: &ClientMessage) -> Ticket {
        self.said(|story, at| story.client_asks(at, client, node, message))
    }

    pub(super) fn tell_reply(&mut self, node: usize, client: usize, message: &NodeMessage) -> Ticket {
        self.said(|story, at| story.node_answers(at, node, client, message))
    }

    pub(super) fn tell_copy(&mut self, original: Ticket) -> Ticket {
        self.said(|story, _| story.copied(original))
    }

    pub(super) fn tell_arrived(&mut self, ticket: Ticket) {
        self.tell(|story, at| story.arrived(at, ticket));
    }

    pub(super) fn tell_lost(&mut self, ticket: Ticket, why: &str) {
        self.tell(|story, at| story.lost(at, ticket, why));
    }

    /// A client begins to do something.
    pub(super) fn tell_begins(&mut self, client: usize, request: &Request, task: &Task) {
        let Some(recorder) = &mut self.story else { return };
        let at = self.now.as_micros();
        let writes: &[WriteId] = match task {
            Task::Write(id) => std::slice::from_ref(id),
            Task::PutMany(ids) => ids,
            _ => &[],
        };
        for id in writes {
            let write = self.truth.write(*id);
            let kind = match write.kind {
                Kind::Put => WriteKind::Put,
                Kind::Delete => WriteKind::Delete,
            };
            let known = &self.truth.keys[write.key].writes;
            let seen: Vec<u32> = write.ghost.iter().map(|index| known[index].0).collect();
            let parents = direct_parents(&seen, |write| recorder.parents(write));
            let (w, durability) = (write.w, format!("{:?}", write.durability));
            recorder
                .writes(id.0, Write { w, durability, parents, ..Write::begun(number(write.key), kind, client, at) });
        }
        recorder.begins(at, client, request, writes.iter().map(|id| id.0).collect());
    }

    pub(super) fn tell_ends(&mut self, client: usize, result: &Result<Response, Error>) {
        self.tell(|story, at| story.ends(at, client, result));
    }

    pub(super) fn tell_fate(&mut self, id: WriteId, fate: truth::Fate) {
        let fate = match fate {
            truth::Fate::Begun => Fate::UnderWay,
            truth::Fate::Acknowledged => Fate::Done,
            truth::Fate::Failed => Fate::Failed,
            truth::Fate::Unknown => Fate::Unknown,
        };
        self.tell(|story, at| story.write_ends(at, id.0, fate));
    }

    pub(super) fn tell_fault_begins(&mut self, index: usize) {
        let Some(recorder) = &mut self.story else { return };
        let fault = &self.plan.faults[index].fault;
        let mut lanes: Vec<_> = fault.nodes().into_iter().map(|node| recorder.node(index_in_plan(node))).collect();
        lanes.extend(fault.client().map(|client| recorder.client(client as usize)));
        if lanes.is_empty() {
            lanes.extend((0..self.nodes.len()).map(|node| recorder.node(node)));
        }
        lanes.sort_unstable();
        lanes.dedup();
        let (id, text) = (fault.id().number().to_owned(), plan::fault(fault));
        recorder.fault_begins(index, Fault { id, text, lanes, from: self.now.as_micros(), until: None });
    }

    pub(super) fn tell_starts(&mut self, node: usize, found: &[Bytes]) {
        let (stored, machine) = (self.stored_of(found), &self.nodes[node]);
        let (Some(recorder), Some(process)) = (&mut self.story, &machine.process) else { return };
        let complete = process.shards.iter().all(|shard| shard.replica().is_complete());
        let start = match (stored.len(), complete) {
            (0, _) => "an empty store".to_owned(),
            (events, true) => format!("a store with {events} events"),
            (events, false) => format!("a store with {events} events that may have lost some"),
        };
        let at = self.now.as_micros();
        recorder.starts(at, node, process.actor.incarnation.to_string(), &start);
        recorder.recovers(at, node, &stored);
        for key in recorder.held_keys(node) {
            let writes = self.writes_of(node, key as usize);
            self.tell(|story, _| story.holds_at_start(node, key, writes));
        }
    }

    pub(super) fn tell_dies(&mut self, node: usize, how: &str) {
        self.tell(|story, at| story.dies(at, node, how));
    }

    pub(super) fn tell_stores(&mut self, node: usize, kind: StoreKind, entries: &[Bytes]) {
        let stored = self.stored_of(entries);
        self.tell(|story, at| story.stores(at, node, kind, &stored));
    }

    /// The keys of the objects that the turn writes which a disk does next.
    pub(super) fn tell_next_turn(&self, node: usize, shard: usize) -> Vec<u32> {
        let Some(recorder) = &self.story else { return Vec::new() };
        let changes = self.nodes[node].disks[shard]
            .queue
            .front()
            .into_iter()
            .flatten()
            .flat_map(|(_, operation)| operation.changes());
        let key = |change: &Change| match change {
            Change::Put { column: Column::Objects, key, .. } => recorder.key(&layout::object_key(key).ok()?),
            _ => None,
        };
        changes.filter_map(key).collect()
    }

    /// What a store holds of keys after a turn.
    pub(super) fn tell_holds(&mut self, node: usize, keys: &[u32]) {
        for key in keys {
            let writes = self.writes_of(node, *key as usize);
            let expired = self.expired_of(*key as usize);
            self.tell(|story, at| story.holds(at, node, *key, writes, &expired));
        }
    }

    fn expired_of(&self, key: usize) -> Vec<u32> {
        let writes = self.truth.keys[key].writes.iter();
        writes.filter(|id| self.truth.has_expired(**id)).map(|id| id.0).collect()
    }

    fn writes_of(&self, node: usize, key: usize) -> Vec<u32> {
        let values = self.values(node, &self.truth.keys[key].key).unwrap_or_default();
        values.iter().filter_map(|(_, stored)| WriteId::of(&stored.value)).map(|id| id.0).collect()
    }

    /// The key and write of entries of the dot log, if somebody wants to know.
    fn stored_of(&self, entries: &[Bytes]) -> Vec<(u32, Option<u32>)> {
        let Some(recorder) = &self.story else { return Vec::new() };
        let of =
            |entry| self.dots.event(entry).and_then(|(key, write)| Some((recorder.key(key)?, write.map(|id| id.0))));
        entries.iter().filter_map(of).collect()
    }

    pub(super) fn tell_note(&mut self, node: usize, text: impl FnOnce() -> String) {
        self.tell(|story, at| {
            let lane = story.node(node);
            story.note(at, lane, &text(), About::default());
        });
    }

    pub(super) fn tell_standing(&mut self, node: usize, standing: Standing, by: Option<quorate_ring::NodeId>) {
        self.tell_note(node, || match (standing, by) {
            (Standing::Lost, Some(by)) if index_of(by) == node => "finds that its store was set back".to_owned(),
            (Standing::Lost, Some(by)) => {
                format!("learns from n{} that its store has lost something", index_of(by) + 1)
            }
            (standing, _) => format!("its store is now known as {standing:?}").to_lowercase(),
        });
    }

    /// The story, when the run is over.
    pub(super) fn told(&mut self, violation: Option<&Violation>) -> Option<Story> {
        let recorder = self.story.take()?;
        let lasted = self.now.as_micros();
        let failure = violation.map(|violation| Failure {
            oracle: format!("O{}", violation.oracle.number()),
            name: violation.oracle.name().to_owned(),
            promise: violation.oracle.promise().to_owned(),
            what: violation.what.clone(),
            at: lasted,
            about: About {
                keys: violation.key.into_iter().map(number).collect(),
                writes: violation.writes.iter().map(|id| id.0).collect(),
            },
        });
        let ending = Ending { lasted, events: self.events, failure, held: self.held(&recorder) };
        let story = recorder.finish(ending);
        let (title, repeat) = (format!("seed {}", self.plan.seed), plan::repeat(&self.plan));
        Some(Story { title, repeat, plan: plan::summary(&self.plan), ..story })
    }

    /// What the primaries of the keys that were written hold.
    fn held(&self, recorder: &Recorder) -> Vec<Held> {
        let written = self.truth.keys.iter().enumerate().filter(|(_, truth)| !truth.writes.is_empty());
        let held = written.flat_map(|(key, _)| {
            self.holders(key).map(move |node| Held {
                node: recorder.node(node),
                key: number(key),
                writes: self.writes_of(node, key),
            })
        });
        held.collect()
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("a run has few keys")
}
