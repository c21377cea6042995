//! Coordinating a put or delete: at a primary of its key, or at a node that stands in when no primary can be reached.

use std::collections::VecDeque;

use quorate_ring::version::{Container, Dot};
use quorate_ring::wire::{Durability, ReplicaAnswer, ReplicaError, RequestError, Response};
use quorate_ring::{NodeId, ObjectKey, StoredValue};

use super::tally::{Tally, Verdict};
use super::{ReplyTo, answer_of};
use crate::Time;

/// A write that is to be stored by W of the primaries of each live epoch, or of those that stand in for primaries that are away (the Dynamo paper, section
/// 4.6: sloppy quorum).
///
/// ```text
/// Making ──the event is made here──▶ Storing ──W stored──▶ gone (acknowledge)
///   │                                 │ ▲ │
///   │   a primary or stand-in is away:└─┘ └──too few can, or deadline──▶ gone (error)
///   │   the next fallback stands in
///   └──refused here──▶ gone (error)
/// ```
///
/// The acknowledgement is made only of completions: this node's own of its store, the others' of theirs. A write that ends before
/// its event is made is taken back from the own store ([`Self::is_made`]), so that what its client is told stays true: nothing
/// happened, and nothing will.
///
/// Away is who cannot be reached, or is silent on everything, or whose storage failed. One that is overloaded, or slow, gets no stand-in:
/// hints would be more work for a cluster that has too much already.
#[derive(Debug)]
pub struct Write {
    /// What is written.
    pub key: ObjectKey,
    /// Who gets the answer.
    pub reply_to: ReplyTo,
    /// When it began.
    pub begun: Time,
    /// When it ends.
    pub deadline: Time,
    /// Bytes of the values that are sent.
    pub bytes: usize,
    /// Where it must be to count.
    pub durability: Durability,
    tally: Tally,
    /// Who may stand in and does not yet, in preference order. Nobody for a strict write.
    fallbacks: VecDeque<NodeId>,
    made: Option<Made>,
    /// Primaries that did not take it for the epoch that it goes by, and were asked once more.
    asked_again: Vec<NodeId>,
}

/// A write whose event is made.
#[derive(Debug)]
struct Made {
    dot: Dot,
    /// With the event, filled.
    container: Container<StoredValue>,
    /// What the client is told when it is stored.
    response: Response,
}

/// Somebody who is to store a write: a primary, or a node that stands in for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Who.
    pub node: NodeId,
    /// The primary in whose place, if it is none.
    pub hint_for: Option<NodeId>,
}

/// What a write needs after something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing but time.
    Wait,
    /// The client is to be told this, and the write is over.
    End(Result<Response, RequestError>),
}

impl Write {
    /// A write whose event is not made yet, of which `needed` in each of the quorums must store it. `fallbacks` may stand in for primaries
    /// that are away, in this order.
    pub fn new(
        key: ObjectKey,
        reply_to: ReplyTo,
        (begun, deadline): (Time, Time),
        durability: Durability,
        needed: u8,
        (primaries, quorums): (impl Iterator<Item = NodeId>, Vec<Vec<NodeId>>),
        fallbacks: Vec<NodeId>,
    ) -> Self {
        let tally = Tally::new(needed, primaries).in_each(quorums);
        Self {
            key,
            reply_to,
            begun,
            deadline,
            bytes: 0,
            durability,
            tally,
            fallbacks: fallbacks.into(),
            made: None,
            asked_again: Vec::new(),
        }
    }

    /// Whether it waits for this node's answer.
    pub fn waits_for(&self, node: NodeId) -> bool {
        self.tally.waits_for(node)
    }

    /// Notes who cannot be reached before anything is done; an error if the rest cannot be enough.
    ///
    /// # Errors
    /// [`RequestError::WriteQuorum`] that says that nothing was stored.
    pub fn check_reachable(&mut self, own: NodeId, reachable: impl Fn(NodeId) -> bool) -> Result<(), RequestError> {
        let reachable = |node: NodeId| node == own || reachable(node);
        let away: Vec<_> = self.tally.not_asked().filter(|node| !reachable(*node)).collect();
        for node in away {
            self.tally.record(node, ReplicaAnswer::Unreachable);
        }
        let spare = self.fallbacks.iter().filter(|node| reachable(**node)).count();
        if self.tally.verdict_with(spare) == Verdict::Lost { Err(self.error()) } else { Ok(()) }
    }

    /// Learns that this node has made the event; gives whom it is to be sent to, this node included. `response` is for the client,
    /// once enough have stored it.
    pub fn handle_made(
        &mut self,
        own: NodeId,
        dot: Dot,
        container: Container<StoredValue>,
        response: Response,
        away: impl Fn(NodeId) -> bool,
    ) -> Vec<Asked> {
        self.made = Some(Made { dot, container, response });
        let primaries: Vec<NodeId> = self.tally.not_asked().collect();
        for node in &primaries {
            self.tally.ask(*node);
        }
        // Who made the event holds it: as a primary, or in the place of the first that is away.
        if let Some(place) = self.fallbacks.iter().position(|node| *node == own) {
            self.fallbacks.remove(place);
            self.fallbacks.push_front(own);
        }
        let mut asked: Vec<Asked> = primaries.into_iter().map(|node| Asked { node, hint_for: None }).collect();
        asked.extend(self.call_stand_ins(away));
        // It is not asked again: its store may have answered by then.
        self.fallbacks.retain(|node| *node != own);
        asked
    }

    /// Chooses who is to stand in for those that are away now, and notes that they are asked. Nobody before the event is made.
    pub fn call_stand_ins(&mut self, away: impl Fn(NodeId) -> bool) -> Vec<Asked> {
        if self.made.is_none() {
            return Vec::new();
        }
        let mut asked = Vec::new();
        for primary in self.tally.forsaken(&away) {
            let Some(place) = self.fallbacks.iter().position(|node| !away(*node)) else { break };
            let node = self.fallbacks.remove(place).expect("it was found there");
            self.tally.stand_in(node, primary);
            asked.push(Asked { node, hint_for: Some(primary) });
        }
        asked
    }

    /// The event and the filled container with it, once it is made.
    pub fn event(&self) -> Option<(Dot, &Container<StoredValue>)> {
        self.made.as_ref().map(|made| (made.dot, &made.container))
    }

    /// Whether the event is made.
    pub const fn is_made(&self) -> bool {
        self.made.is_some()
    }

    /// Whether a primary that does not take the event, since it did not know by which epoch this node's requests go, is asked once more; notes that
    /// it is.
    pub fn asks_again(&mut self, node: NodeId) -> bool {
        let waits = self.tally.silent().any(|silent| silent == node);
        let asks = self.made.is_some() && waits && !self.asked_again.contains(&node);
        self.asked_again.extend(asks.then_some(node));
        asks
    }

    /// Takes a node's word that it has stored the event, or not. Ask [`Self::step`] when those who stand in for it have been called.
    pub fn handle_stored(&mut self, from: NodeId, result: Result<(), ReplicaError>) {
        self.tally.record(from, result.map_or_else(answer_of, |()| ReplicaAnswer::Done));
    }

    /// Learns that the connection to a peer is gone. If it was asked, whether it stored the event will not be known.
    pub fn handle_unreachable(&mut self, node: NodeId) {
        self.tally.lose(node);
    }

    /// Learns who makes up the quorums of the live epochs now: what was dropped since it began it does not need any more. `true` if anything was.
    pub fn handle_quorums(&mut self, live: &[Vec<NodeId>]) -> bool {
        self.tally.retain_quorums(live)
    }

    /// Learns that its time is up.
    pub fn handle_deadline(&mut self) -> Step {
        Step::End(Err(self.error()))
    }

    /// Whether it is over. `reachable` says who may yet stand in.
    pub fn step(&self, reachable: impl Fn(NodeId) -> bool) -> Step {
        let spare = self.fallbacks.iter().filter(|node| reachable(**node)).count();
        match (self.tally.verdict_with(spare), &self.made) {
            (Verdict::Won, Some(made)) => Step::End(Ok(made.response.clone())),
            (Verdict::Lost, _) => Step::End(Err(self.error())),
            _ => Step::Wait,
        }
    }

    fn error(&self) -> RequestError {
        RequestError::WriteQuorum {
            needed: self.tally.needed(),
            reached: self.tally.reached(),
            answers: self.tally.all_answers(),
        }
    }
}
