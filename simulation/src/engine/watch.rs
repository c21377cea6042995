//! Watching a run: what each step of each client was told, and the state that the load left. Whoever knows a plan by heart, as a
//! scenario does, can say what its clients have to see; for other plans the oracles must do.

use std::hash::Hasher;
use std::time::Duration;

use quorate_client::{Error, Outcome};
use quorate_node::Time;
use quorate_ring::Value;
use quorate_ring::wire::Response;
use xxhash_rust::xxh3::Xxh3;

use super::{Phase, Simulation};
use crate::client::Task;
use crate::node::Node;
use crate::oracle::truth::{Truth, WriteId};

/// A step of a client of the plan, both numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepId {
    /// Whose.
    pub client: usize,
    /// Which.
    pub step: usize,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A read: the steps that wrote the values it shows, rising.
    Shown(Vec<StepId>),
    /// A write is stored, and leaves so many siblings.
    Stored(u32),
    /// A batch or a page: so many items.
    Items(usize),
    /// It failed, and nothing was changed.
    Refused(String),
    /// It may have happened, or not.
    Unknown(String),
}

/// What a step of a client was told, and when. A read that comes before a write of the same step is told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Which step.
    pub step: StepId,
    /// When it was asked.
    pub asked: Time,
    /// When it was answered.
    pub answered: Time,
    /// What.
    pub answer: Answer,
}

impl Told {
    /// How long it took.
    pub fn took(&self) -> Duration {
        self.answered.since(self.asked)
    }
}

/// What was seen of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// What clients were told during the load, in order.
    pub told: Vec<Told>,
    /// A hash of all that can matter for what comes, at the end of the load: stores, processes, links, what clients remember, and
    /// the truth. Two runs with the same one have the same future, but for the numbers that are drawn in it.
    pub state: u64,
}

impl Watched {
    /// What a step was told last.
    pub fn told(&self, step: StepId) -> Option<&Told> {
        self.told.iter().rev().find(|told| told.step == step)
    }
}

/// A run being watched.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The step that made each write, by the write's number.
    writes: Vec<StepId>,
    /// When each client's request began.
    asked: Vec<Time>,
    watched: Watched,
}

impl Watch {
    pub(super) fn finish(self) -> Watched {
        self.watched
    }

    /// The step that wrote a value.
    fn writer(&self, value: &Value) -> Option<StepId> {
        WriteId::of(value).and_then(|id| self.writes.get(id.0 as usize).copied())
    }

    fn answer(&self, task: &Task, result: &Result<Response, Error>) -> Answer {
        match result {
            Ok(Response::Found { values, .. }) => {
                let mut shown: Vec<StepId> = values.iter().filter_map(|value| self.writer(value)).collect();
                shown.sort_unstable();
                Answer::Shown(shown)
            }
            Ok(Response::Stored { siblings, .. }) => Answer::Stored(*siblings),
            Ok(Response::Many(items)) => Answer::Items(items.len()),
            Ok(Response::Page { items, .. }) => Answer::Items(items.len()),
            Ok(_) => Answer::Items(0),
            Err(error) if is_write(task) && error.outcome() == Outcome::Unknown => Answer::Unknown(error.to_string()),
            Err(error) => Answer::Refused(error.to_string()),
        }
    }
}

fn is_write(task: &Task) -> bool {
    matches!(task, Task::Write(_) | Task::PutMany(_))
}

impl Simulation {
    /// Has the run watched.
    pub(crate) fn watched(mut self) -> Self {
        self.watch = Some(Watch { asked: vec![Time::default(); self.clients.len()], ..Watch::default() });
        self
    }

    pub(super) fn watch_begins(&mut self, client: usize, task: &Task) {
        let Some(watch) = &mut self.watch else { return };
        watch.asked[client] = self.now;
        let step = StepId { client, step: self.clients[client].next.saturating_sub(1) };
        let writes: &[WriteId] = match task {
            Task::Write(id) => std::slice::from_ref(id),
            Task::PutMany(ids) => ids,
            _ => return,
        };
        watch.writes.resize(watch.writes.len() + writes.len(), step);
    }

    pub(super) fn watch_ends(&mut self, client: usize, task: &Task, result: &Result<Response, Error>) {
        let Some(watch) = &mut self.watch else { return };
        if self.phase != Phase::Load {
            return;
        }
        let step = StepId { client, step: self.clients[client].next.saturating_sub(1) };
        let answer = watch.answer(task, result);
        watch.watched.told.push(Told { step, asked: watch.asked[client], answered: self.now, answer });
    }

    /// Notes the state that the load left.
    pub(super) fn watch_state(&mut self) {
        if self.watch.is_none() {
            return;
        }
        let mut hash = Xxh3::new();
        self.nodes.iter().for_each(|node| hash_node(&mut hash, node));
        for link in &self.links {
            hash.write_u32(link.cuts);
            for way in &link.ways {
                hash.write_u32(way.blocked << 16 | way.clogged);
                way.held.iter().for_each(|held| hash.update(format!("{:?}", held.message).as_bytes()));
            }
        }
        for client in &self.clients {
            for (key, seen) in &client.memory {
                hash.write_usize(*key);
                hash.update(seen.context.as_bytes());
                hash.update(format!("{:?}", seen.ghost).as_bytes());
            }
        }
        // What clocks show matters where something expires.
        let wall = if self.truth.expires { self.truth.wall } else { Default::default() };
        hash.update(format!("{:?}", Truth { wall, ..self.truth.clone() }).as_bytes());
        if let Some(watch) = &mut self.watch {
            watch.watched.state = hash.digest();
        }
    }
}

fn hash_node(hash: &mut Xxh3, node: &Node) {
    if let Some(process) = &node.process {
        hash.update(format!("{:?}", process.actor).as_bytes());
        for shard in &process.shards {
            hash.write_usize(shard.in_flight());
            hash.write_u8(u8::from(shard.replica().is_complete()));
        }
    } else {
        // How it will start is judged by this.
        hash.write_u32(node.boot);
    }
    for disk in &node.disks {
        hash.write_u64(disk.store.fingerprint());
        hash.write_usize(disk.store.unsynced());
        hash.write_u64(disk.store.clone().crash(0).fingerprint());
    }
}
