//! Collects an insight while the engine runs. Nothing here draws a decision or touches the history: an observed run is the same run.

use std::collections::{BTreeMap, VecDeque};

use quorate_client::Error;
use quorate_node::Time;
use quorate_ring::Value;

use super::{Divergence, Insight, RequestKind, Requests, Staleness, Times};
use crate::client::Task;
use crate::oracle::bits::Bits;
use crate::oracle::truth::{Kind, Truth, WriteId};

/// Acknowledged writes of one key that are looked for in its reads: the last ones. What a read misses beyond them is not counted.
const WRITES_MAX: usize = 1_024;

/// An acknowledged write of a key.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    /// Counts acknowledgements, so that those of one instant have an order.
    turn: u64,
    at: Time,
    id: WriteId,
}

/// A request under way.
#[derive(Clone, Copy, Debug, Default)]
struct Begun {
    at: Time,
    turn: u64,
    among_faults: bool,
}

/// Collects an insight.
#[derive(Debug)]
pub(crate) struct Recorder {
    insight: Insight,
    /// By key, oldest first.
    acknowledged: BTreeMap<usize, VecDeque<Acknowledged>>,
    /// How many acknowledgements there were.
    turns: u64,
    /// Of each client, what it is doing.
    begun: Vec<Begun>,
}

impl Recorder {
    /// Nothing has happened yet.
    pub(crate) fn new(clients: usize) -> Self {
        let staleness = Staleness {
            reads: 0,
            stale: 0,
            missed: 0,
            missed_max: 0,
            age: Times::default(),
            since_write: Times::default(),
            since_missed_write: Times::default(),
        };
        let requests = RequestKind::ALL.map(|_| Requests::default());
        Self {
            insight: Insight { staleness, divergence: Divergence::default(), requests },
            acknowledged: BTreeMap::new(),
            turns: 0,
            begun: vec![Begun::default(); clients],
        }
    }

    /// A client begins a request.
    pub(crate) fn begins(&mut self, client: usize, at: Time, among_faults: bool) {
        self.begun[client] = Begun { at, turn: self.turns, among_faults };
    }

    /// A client's request is over.
    pub(crate) fn ends(
        &mut self,
        client: usize,
        kind: RequestKind,
        error: Option<&Error>,
        at: Time,
        among_faults: bool,
    ) {
        let begun = self.begun[client];
        let requests = &mut self.insight.requests[kind as usize];
        if error.is_none() {
            requests.latency.note(at.since(begun.at));
        }
        let mut counts = vec![&mut requests.all];
        if begun.among_faults || among_faults {
            counts.push(&mut requests.during_faults);
        }
        for ends in counts {
            match error {
                None => ends.succeeded += 1,
                Some(Error::Timeout { .. } | Error::OutcomeUnknown { .. }) => ends.timed_out += 1,
                Some(_) => ends.failed += 1,
            }
        }
    }

    /// A write is acknowledged.
    pub(crate) fn acknowledged(&mut self, key: usize, id: WriteId, at: Time) {
        let writes = self.acknowledged.entry(key).or_default();
        if writes.len() == WRITES_MAX {
            writes.pop_front();
        }
        writes.push_back(Acknowledged { turn: self.turns, at, id });
        self.turns += 1;
    }

    /// A read of a key has shown these values; `ghost` is what they stand for.
    pub(crate) fn read(&mut self, client: usize, key: usize, values: &[Value], ghost: &Bits, truth: &Truth) {
        self.note_siblings(values.len());
        let Begun { at, turn, .. } = self.begun[client];
        let staleness = &mut self.insight.staleness;
        staleness.reads += 1;
        let Some(writes) = self.acknowledged.get(&key) else { return };
        let before = &mut writes.iter().take_while(|write| write.turn < turn);
        let is_missed = |write: &Acknowledged| is_missed(truth, key, write.id, values, ghost);
        let (mut missed, mut oldest, mut last) = (0, None, None);
        for write in before {
            let lacks = is_missed(write);
            if lacks {
                missed += 1;
                oldest = oldest.or(Some(write.at));
            }
            last = Some((write.at, lacks));
        }
        if let Some((acknowledged, lacks)) = last {
            let since = at.since(acknowledged);
            staleness.since_write.note(since);
            if lacks {
                staleness.since_missed_write.note(since);
            }
        }
        if let Some(oldest) = oldest {
            staleness.stale += 1;
            staleness.missed += missed;
            staleness.missed_max = staleness.missed_max.max(missed);
            staleness.age.note(at.since(oldest));
        }
    }

    fn note_siblings(&mut self, count: usize) {
        let siblings = u64::try_from(count).expect("few siblings");
        let divergence = &mut self.insight.divergence;
        divergence.reads += u64::from(0 < siblings);
        divergence.siblings += siblings;
        divergence.siblings_max = divergence.siblings_max.max(siblings);
        divergence.diverged += u64::from(1 < siblings);
    }

    /// What the run taught.
    pub(crate) fn into_insight(self) -> Insight {
        self.insight
    }
}

/// A put is missed if neither it nor a successor is shown, nor a delete may have taken it away; a delete, if something that it
/// deleted is shown.
fn is_missed(truth: &Truth, key: usize, id: WriteId, values: &[Value], ghost: &Bits) -> bool {
    let write = truth.write(id);
    match write.kind {
        Kind::Put => !ghost.contains(write.index) && !truth.keys[key].deleted.contains(write.index),
        Kind::Delete => {
            values.iter().filter_map(WriteId::of).any(|shown| write.ghost.contains(truth.write(shown).index))
        }
    }
}

/// What kind of request a task is; none for those that are made to be refused.
pub(crate) fn kind_of(task: &Task, truth: &Truth) -> Option<RequestKind> {
    match task {
        Task::Get { .. } => Some(RequestKind::Get),
        Task::Write(id) if truth.write(*id).kind == Kind::Delete => Some(RequestKind::Delete),
        Task::Write(_) => Some(RequestKind::Put),
        Task::GetMany(_) => Some(RequestKind::GetMany),
        Task::PutMany(_) => Some(RequestKind::PutMany),
        Task::Scan { .. } => Some(RequestKind::Scan),
        Task::Forge => None,
    }
}
