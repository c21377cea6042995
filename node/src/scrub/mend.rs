//! One key whose copy here cannot be read, as its replica asks the others for it. Why what they hold may take its place is told in
//! [`crate::replica::mending`].

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_ring::limits::FETCH_DOTS_MAX;
use quorate_ring::version::{Container, Dot, NodeClock};
use quorate_ring::wire::{ExchangeId, HeldObject, ReplicaError};
use quorate_ring::{NodeId, StoredValue};

use crate::Time;
use crate::limits::{MEND_GIVE_UP, MEND_PAUSE, MEND_PAUSE_MAX};

/// A key that is being mended.
///
/// ```text
/// Resting ──time──▶ Asking replicas ──they have received all that this one had──▶ Storing ──stored──▶ (done)
///    ▲                 │ all have answered, nobody has some event, and that for long
///    │                 ▼
///    │               Asking those that may keep hints ──their hints have the rest──▶ Storing
///    │                 │ nobody has
///    │                 ▼
///    └────────────── Asking replicas once more ──all have answered──▶ Storing
/// ```
///
/// Hints are asked for before replicas are for the last time, for a hint moves from one that keeps it to a replica and never back. From
/// anywhere it comes back to resting when somebody could not be asked, an answer is too late, or the store cannot write.
#[derive(Debug)]
pub struct Mend {
    state: State,
    began: Time,
    attempts: u32,
    waiting: BTreeMap<ExchangeId, NodeId>,
    /// Whether somebody could not be asked, or could not say.
    doubtful: bool,
    container: Container<StoredValue>,
    clock: NodeClock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Resting { until: Time },
    Asking { whom: Whom, until: Time },
    Storing { exchange: ExchangeId },
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The other replicas.
    Replicas,
    /// All other nodes, for hints.
    Others,
    /// The other replicas, after that.
    ReplicasAgain,
}

/// What is to be done after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Wait,
    /// What the others hold can be written: they have received all that was here.
    Store,
    /// What they hold can be written: nobody has the rest.
    StoreRest,
    /// These are to be asked.
    Ask(Whom),
}

impl Mend {
    /// One that begins now.
    pub fn new(now: Time) -> Self {
        Self {
            state: State::Resting { until: now },
            began: now,
            attempts: 0,
            waiting: BTreeMap::new(),
            doubtful: false,
            container: Container::empty(),
            clock: NodeClock::new(),
        }
    }

    /// When it is to go on, if nothing happens before.
    pub const fn deadline(&self) -> Option<Time> {
        match self.state {
            State::Resting { until } | State::Asking { until, .. } => Some(until),
            State::Storing { .. } => None,
        }
    }

    /// Whether nobody is asked for it now, nor anything written.
    pub const fn is_resting(&self) -> bool {
        matches!(self.state, State::Resting { .. })
    }

    /// Whether that time has come.
    pub fn is_due(&self, now: Time) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// These are asked, each by this number, and so many that should be cannot; an answer is too late then.
    pub fn handle_asked(&mut self, whom: Whom, asked: BTreeMap<ExchangeId, NodeId>, missing: usize, until: Time) {
        self.waiting = asked;
        self.state = State::Asking { whom, until };
        self.doubtful = 0 < missing;
        if whom == Whom::Replicas {
            (self.container, self.clock) = (Container::empty(), NodeClock::new());
        }
    }

    /// Nothing came of it: it is tried again later.
    pub fn rest(&mut self, now: Time) -> Time {
        let pause = MEND_PAUSE.saturating_mul(1 << self.attempts.min(8)).min(MEND_PAUSE_MAX);
        self.attempts += 1;
        self.rest_for(now, pause)
    }

    fn rest_for(&mut self, now: Time, pause: Duration) -> Time {
        self.waiting.clear();
        (self.container, self.clock) = (Container::empty(), NodeClock::new());
        self.state = State::Resting { until: now + pause };
        now + pause
    }

    /// Whether this is the answer to a question of its.
    pub fn waits_for(&self, from: NodeId, exchange: ExchangeId) -> bool {
        self.waiting.get(&exchange) == Some(&from)
    }

    /// Takes an answer, if it is one. `lost` is the clock that others must account for.
    pub fn handle_held(
        &mut self,
        now: Time,
        (from, exchange): (NodeId, ExchangeId),
        result: Result<HeldObject, ReplicaError>,
        lost: &NodeClock,
    ) -> Next {
        let State::Asking { whom, .. } = self.state else { return Next::Wait };
        if self.waiting.get(&exchange) != Some(&from) {
            return Next::Wait;
        }
        self.waiting.remove(&exchange);
        match (whom, result) {
            (_, Err(_)) => self.doubtful = true,
            (_, Ok(held)) => {
                self.container.sync(held.container);
                self.clock.join(&held.clock);
            }
        }
        if whom == Whom::Others {
            self.account_for_hints(lost);
        }
        if self.clock.dominates(lost) {
            return Next::Store;
        }
        if !self.waiting.is_empty() {
            return Next::Wait;
        }
        match whom {
            _ if self.doubtful => self.give_up(now),
            Whom::Replicas if self.began + MEND_GIVE_UP <= now => Next::Ask(Whom::Others),
            Whom::Replicas => self.give_up(now),
            Whom::Others => Next::Ask(Whom::ReplicasAgain),
            Whom::ReplicasAgain => Next::StoreRest,
        }
    }

    /// A hint accounts for the events that its vector covers, as values or as obsolete; whose they are, its clock does not say.
    fn account_for_hints(&mut self, lost: &NodeClock) {
        let missing = lost.missing_from(&self.clock).take(FETCH_DOTS_MAX);
        let covered: Vec<Dot> = missing.filter(|dot| self.container.vector().covers(dot)).collect();
        covered.into_iter().for_each(|dot| _ = self.clock.add(dot));
    }

    fn give_up(&mut self, now: Time) -> Next {
        self.rest(now);
        Next::Wait
    }

    /// What the others hold together, and the events that they have received; it is being written from now on.
    pub fn handle_storing(&mut self, exchange: ExchangeId) -> (Container<StoredValue>, NodeClock) {
        self.waiting.clear();
        self.state = State::Storing { exchange };
        (std::mem::take(&mut self.container), std::mem::take(&mut self.clock))
    }

    /// Whether this is its writing.
    pub fn is_storing(&self, exchange: ExchangeId) -> bool {
        self.state == State::Storing { exchange }
    }
}
