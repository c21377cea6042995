//! One request from its start to its end: whom to ask next, how long to wait, what is safe to try again.
//!
//! It sends nothing itself. A driver (the transport's, or a simulated client) asks [`Operation::next_step`] and does what it says.

use std::time::Duration;

use quorate_ring::NodeId;
use quorate_ring::limits::TIMEOUT_MILLIS_MAX;
use quorate_ring::wire::{Request, RequestError, Response};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::error::{Error, Said, Tried};
use crate::routing::{Access, Heard, Router, Target};
use crate::{ConnectProblem, Time};

/// Most attempts of one request; then it ends with what was said. Because of the pauses the deadline nearly always comes first.
pub const ATTEMPTS_MAX: u32 = 256;
/// A silent node costs a read at most this before another is asked as well.
const SLICE_MAX: Duration = Duration::from_millis(500);
/// And at most this part of the time the caller gave.
const SLICE_PART: u32 = 3;
/// The first pause before nodes are asked again; doubled each time.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A node is given this much less time than the caller has left (but no less than 7/8 of it), so that its own account of a failure,
/// which names the silent replicas, arrives in time.
const ANSWER_MARGIN_MAX: Duration = Duration::from_millis(50);

/// A write that was refused is tried again only while more than this part of the caller's time is left, and more than this time at most. One
/// that is begun shortly before the deadline would turn what is known, that nothing changed, into an unknown outcome.
const RETRY_PART: u32 = 8;
const RETRY_LEAST_MAX: Duration = Duration::from_millis(250);

/// Names one attempt of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(u32);

/// What the driver should do next.
#[derive(Debug)]
pub enum Step {
    /// Send the request, then ask for the next step at once.
    Send {
        /// Names this attempt, for what comes of it.
        attempt: AttemptId,
        /// Whom to send it to.
        to: NodeId,
        /// What to send as the message's timeout.
        timeout_millis: u32,
        /// If there is no connection to the node after this time, report the attempt as not sent. It ends before the deadline, so
        /// that a write which never left is not told of as one of unknown outcome.
        connect_within: Duration,
    },
    /// Nothing until an attempt ends or this time has come.
    WaitUntil(Time),
    /// The request is over. Nothing may be asked of the operation any more.
    Done(Result<Response, Error>),
}

/// How an attempt was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Surely not a byte of it reached the node.
    NotSent(ConnectProblem),
    /// It may have reached the node.
    Unknown(ConnectProblem),
}

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    attempt: AttemptId,
    node: NodeId,
    since: Time,
    /// When another node is asked as well if there is budget for that: the node is slower than it usually is.
    hedge_from: Time,
    /// When another node is asked as well in any case. A write never asks a second one while the first may still act.
    slice_ends: Time,
}

/// What was seen of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Which node.
    pub node: NodeId,
    /// How long it took, or was waited for in vain.
    pub took: Duration,
    /// What came of it.
    pub heard: Heard,
}

/// The state machine of one request.
///
/// ```text
///             next_step: Send             reply, or a failure that must not be repeated
///   choosing ────────────────▶ waiting ────────────────────────────────────────────────▶ done
///    ▲    ▲                      │  │                                                     ▲
///    │    └──────────────────────┘  │ transient failure, nobody else to ask,              │
///    │      transient failure       │ or the node asks for less                           │
///    │      (reads: or the slice    ▼                                                     │
///    └──────── its end ────────── pausing            the deadline, from every state ──────┘
///              has passed)
/// ```
///
/// - A **read** may be asked of several nodes: after any failure that can pass; when a node takes longer than it usually does, within
///   the router's budget; and when it stays silent for its slice (a third of the caller's time, at most half a second). The silent
///   node's late answer is still taken.
/// - A **write** is tried again only if the node said that nothing changed, or if it was surely not sent. Else it ends as
///   [`Error::OutcomeUnknown`]: doing it twice could bring back what another client has replaced in between. Shortly before its deadline
///   it is not tried again, but ends as what was said last: nothing changed.
/// - **Pauses** grow and are drawn from the seeded generator, so that clients which were refused together do not come back together.
///
/// No timer has to be cancelled: `next_step` looks at the time it is given.
#[derive(Debug)]
pub struct Operation {
    request: Request,
    target: Target,
    begun: Time,
    deadline: Time,
    slice: Duration,
    seed: u64,
    /// Whether it is one of a batch.
    is_in_batch: bool,
    /// Not yet asked in this round, the best one last.
    candidates: Vec<NodeId>,
    /// Whether there was a pause, or nothing yet, since a node was asked last: then a new round may begin.
    rested: bool,
    attempts: u32,
    pauses: u32,
    pause_ends: Time,
    jitter: Option<ChaCha8Rng>,
    outstanding: Vec<Outstanding>,
    observed: Vec<Observed>,
    tried: Vec<(NodeId, Said)>,
    last_error: Option<(NodeId, RequestError)>,
    result: Option<Result<Response, Error>>,
}

impl Operation {
    /// A request that must be over by `deadline`. The seed spreads load over the primaries and draws the pauses: give each operation
    /// another one.
    pub fn new(request: Request, target: Target, deadline: Time, now: Time, seed: u64) -> Self {
        let slice = (deadline.since(now) / SLICE_PART).min(SLICE_MAX);
        Self {
            request,
            target,
            begun: now,
            deadline,
            slice,
            seed,
            is_in_batch: false,
            candidates: Vec::new(),
            rested: true,
            attempts: 0,
            pauses: 0,
            pause_ends: now,
            jitter: None,
            outstanding: Vec::new(),
            observed: Vec::new(),
            tried: Vec::new(),
            last_error: None,
            result: None,
        }
    }

    /// The same as one of many: a batch takes as long as it is large, so that its node is late says nothing; and it is tried whole, as the
    /// next mostly follows when it is answered.
    #[must_use]
    pub fn in_batch(self) -> Self {
        Self { is_in_batch: true, ..self }
    }

    /// What to send when a step says so.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// By when it is over.
    pub fn deadline(&self) -> Time {
        self.deadline
    }

    /// What to do now. Call it after each `handle_*`, after each [`Step::Send`], and when the time of [`Step::WaitUntil`] has come.
    pub fn next_step(&mut self, router: &Router, now: Time) -> Step {
        if let Some(result) = self.result.take() {
            return Step::Done(result);
        }
        if self.deadline <= now {
            return Step::Done(Err(self.failure(router)));
        }
        if let Some(time) = self.busy_until(router, now) {
            return Step::WaitUntil(time.min(self.deadline));
        }
        if ATTEMPTS_MAX <= self.attempts {
            let waiting = !self.outstanding.is_empty();
            return if waiting { Step::WaitUntil(self.deadline) } else { Step::Done(Err(self.failure(router))) };
        }
        if self.is_too_late_to_retry(now) {
            return Step::Done(Err(self.failure(router)));
        }
        match self.choose(router, now) {
            Some(node) => self.send(router, node, now),
            None => Step::WaitUntil(self.pause_ends.min(self.deadline)),
        }
    }

    /// Whether it reads.
    pub fn access(&self) -> Access {
        if is_read(&self.request) { Access::Read } else { Access::Write }
    }

    /// How many other attempts are under way beside the last one.
    pub fn beside(&self) -> usize {
        self.outstanding.len().saturating_sub(1)
    }

    /// What was seen of nodes since this was asked last, for [`Router::note_took`]. Ask after each step, but of a batch: others go by it.
    pub fn take_observed(&mut self) -> Vec<Observed> {
        std::mem::take(&mut self.observed)
    }

    /// An attempt was answered.
    pub fn handle_reply(&mut self, now: Time, attempt: AttemptId, result: Result<Response, RequestError>) {
        let asked = self.take_outstanding(attempt);
        if let Some(asked) = &asked {
            // What another node refused, to which this one handed it, is that one's.
            let own =
                |error: &RequestError| matches!(error, RequestError::Overloaded { node, .. } if *node == asked.node);
            let heard = if result.as_ref().is_err_and(own) { Heard::Overloaded } else { Heard::Answer };
            self.observe(now, asked.node, asked.since, heard);
            if result.is_ok() {
                let is_late = |other: &&Outstanding| other.since < asked.since;
                let late: Vec<Outstanding> = self.outstanding.iter().filter(is_late).copied().collect();
                late.iter().for_each(|late| self.observe(now, late.node, late.since, Heard::Nothing));
            }
        }
        match (asked, result) {
            (Some(_), Ok(response)) => self.finish(Ok(response)),
            (Some(asked), Err(error)) => self.handle_error(now, asked.node, error),
            (None, _) => {} // Answered before, or given up.
        }
    }

    /// An attempt was lost. A write of unknown fate ends here.
    pub fn handle_lost(&mut self, attempt: AttemptId, fate: Fate) {
        let Some(Outstanding { node, .. }) = self.take_outstanding(attempt) else {
            return;
        };
        let said = match fate {
            Fate::NotSent(problem) => Said::NotSent(problem),
            Fate::Unknown(problem) => Said::Lost(problem),
        };
        if matches!(said, Said::Lost(_)) && !is_read(&self.request) {
            return self.finish(Err(Error::OutcomeUnknown { node, said }));
        }
        self.note(node, said);
    }

    fn observe(&mut self, now: Time, node: NodeId, since: Time, heard: Heard) {
        self.observed.push(Observed { node, took: now.since(since), heard });
    }

    /// Until when nothing is to be done but to wait for the attempts under way or the end of a pause.
    fn busy_until(&self, router: &Router, now: Time) -> Option<Time> {
        if !self.outstanding.is_empty() && !is_read(&self.request) {
            return Some(self.deadline);
        }
        let ends = |asked: &Outstanding| if router.may_hedge() { asked.hedge_from } else { asked.slice_ends };
        let busy = self.outstanding.iter().map(ends).max().unwrap_or(self.pause_ends).max(self.pause_ends);
        (now < busy).then_some(busy)
    }

    /// Whether it is a write that would most likely be over before another attempt is answered.
    fn is_too_late_to_retry(&self, now: Time) -> bool {
        let least = (self.deadline.since(self.begun) / RETRY_PART).min(RETRY_LEAST_MAX);
        !is_read(&self.request) && 0 < self.attempts && self.deadline.since(now) < least
    }

    /// The next node to ask, or `None` at the end of a round, which begins a pause.
    fn choose(&mut self, router: &Router, now: Time) -> Option<NodeId> {
        if self.candidates.is_empty() {
            if !self.rested {
                self.pause(now);
                return None;
            }
            self.candidates = router.candidates(self.target, self.access(), self.seed, now);
            self.candidates.reverse();
        }
        while let Some(node) = self.candidates.pop() {
            if self.outstanding.iter().any(|asked| asked.node == node) {
                continue;
            }
            self.rested = false;
            if !self.is_held_back(router, node, now) {
                return Some(node);
            }
            self.hold_back(node, now);
            // Who waits for another's answer looks on; who waits for nobody does so later.
            if self.outstanding.is_empty() {
                break;
            }
        }
        self.pause(now);
        None
    }

    /// Whether a node would most likely refuse it, so that it is not even asked. Of a batch each item is tried; and what concerns the node
    /// itself is never refused.
    fn is_held_back(&mut self, router: &Router, node: NodeId, now: Time) -> bool {
        let is_exempt = self.is_in_batch
            || matches!(self.request, Request::Ring | Request::Status | Request::Layout | Request::ChangeLayout(_));
        let held_back = if is_exempt { 0 } else { router.held_back(node, now) };
        0 < held_back && u64::from(self.chance().random::<u32>()) < held_back
    }

    fn hold_back(&mut self, node: NodeId, now: Time) {
        self.observe(now, node, now, Heard::HeldBack);
        if self.last_error.is_none() {
            let what = "it refused much of what this client asked of it lately, so this was not sent".to_owned();
            let error = RequestError::Overloaded { node, what };
            self.note(node, Said::Refused(error.clone()));
            self.last_error = Some((node, error));
        }
    }

    fn chance(&mut self) -> &mut ChaCha8Rng {
        let seed = self.seed;
        self.jitter.get_or_insert_with(|| ChaCha8Rng::seed_from_u64(seed))
    }

    fn send(&mut self, router: &Router, node: NodeId, now: Time) -> Step {
        let attempt = AttemptId(self.attempts);
        self.attempts += 1;
        let hedge_after =
            if self.is_in_batch { self.slice } else { router.hedge_after(node, self.target, now).min(self.slice) };
        let (hedge_from, slice_ends) = (now + hedge_after, now + self.slice);
        self.outstanding.push(Outstanding { attempt, node, since: now, hedge_from, slice_ends });
        let left = self.deadline.since(now);
        let margin = (left / 8).min(ANSWER_MARGIN_MAX);
        let timeout_millis =
            u32::try_from((left - margin).as_millis()).unwrap_or(u32::MAX).clamp(1, TIMEOUT_MILLIS_MAX);
        Step::Send { attempt, to: node, timeout_millis, connect_within: self.slice.min(left - margin) }
    }

    fn take_outstanding(&mut self, attempt: AttemptId) -> Option<Outstanding> {
        let index = self.outstanding.iter().position(|asked| asked.attempt == attempt)?;
        Some(self.outstanding.swap_remove(index))
    }

    fn handle_error(&mut self, now: Time, node: NodeId, error: RequestError) {
        if !is_read(&self.request) && !error.nothing_changed() {
            return self.finish(Err(Error::OutcomeUnknown { node, said: Said::Refused(error) }));
        }
        if !error.is_transient() {
            return self.finish(Err(Error::Node { node, error }));
        }
        // These would be no better a moment later, or elsewhere; the others are this node's own trouble.
        if matches!(
            error,
            RequestError::Overloaded { .. } | RequestError::ReadQuorum { .. } | RequestError::WriteQuorum { .. }
        ) {
            self.pause(now);
        }
        self.last_error = Some((node, error.clone()));
        self.note(node, Said::Refused(error));
    }

    fn pause(&mut self, now: Time) {
        let longest = PAUSE_FIRST.saturating_mul(1 << self.pauses.min(16)).min(PAUSE_MAX);
        self.pauses += 1;
        self.rested = true;
        let micros = u64::try_from(longest.as_micros()).expect("at most a second");
        self.pause_ends = now + Duration::from_micros(self.chance().random_range(micros / 2..=micros));
    }

    fn note(&mut self, node: NodeId, said: Said) {
        // A node asked in every round is listed once, with what it said last.
        match self.tried.iter_mut().find(|tried| tried.0 == node) {
            Some(tried) => tried.1 = said,
            None => self.tried.push((node, said)),
        }
    }

    fn finish(&mut self, result: Result<Response, Error>) {
        self.outstanding.clear();
        self.result.get_or_insert(result);
    }

    /// Why the request failed, now that nothing more will be tried.
    fn failure(&mut self, router: &Router) -> Error {
        let silent = std::mem::take(&mut self.outstanding);
        silent.iter().for_each(|asked| self.observe(self.deadline, asked.node, asked.since, Heard::Nothing));
        if let (Some(asked), false) = (silent.first(), is_read(&self.request)) {
            return Error::OutcomeUnknown { node: asked.node, said: Said::Silent };
        }
        if let (Some((node, error)), true) = (self.last_error.take(), silent.is_empty()) {
            return Error::Node { node, error };
        }
        for asked in &silent {
            self.note(asked.node, Said::Silent);
        }
        let name = |node: NodeId| {
            router.address(node).map_or_else(|| node.to_string(), |address| format!("{node} ({address})"))
        };
        let tried: Vec<_> = self.tried.drain(..).map(|(node, said)| Tried { whom: name(node), said }).collect();
        if tried.iter().all(|tried| matches!(tried.said, Said::NotSent(_))) {
            return Error::Unreachable { tried };
        }
        Error::Timeout { after: self.deadline.since(self.begun), tried }
    }

    /// The nodes that were silent for their slice: they may be gone without anybody having noticed yet.
    pub fn silent(&self, now: Time) -> impl Iterator<Item = NodeId> + '_ {
        self.outstanding.iter().filter(move |asked| asked.slice_ends <= now).map(|asked| asked.node)
    }
}

/// Whether a request changes nothing, so that asking twice does no harm.
pub fn is_read(request: &Request) -> bool {
    match request {
        Request::Get { .. }
        | Request::GetRepaired { .. }
        | Request::GetMany { .. }
        | Request::Scan { .. }
        | Request::Ring
        | Request::Status
        | Request::Layout => true,
        Request::Put { .. } | Request::Delete { .. } | Request::PutMany { .. } | Request::ChangeLayout(_) => false,
    }
}

#[cfg(test)]
mod tests;
