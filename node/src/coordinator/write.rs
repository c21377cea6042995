//! Coordinating a put or delete at a primary of its key.

use quorate_ring::wire::{Durability, ReplicaAnswer, ReplicaError, RequestError, Response};
use quorate_ring::{NodeId, ObjectKey};

use super::tally::{Tally, Verdict};
use super::{ReplyTo, answer_of};
use crate::Time;

/// A write that is to be stored by W of the primaries.
///
/// ```text
/// Making ──own replica makes the event──▶ Storing ──W stored──▶ gone (acknowledge)
///   │                                        │
///   └──own replica refuses──▶ gone (error)   └──too few can, or deadline──▶ gone (error)
/// ```
///
/// The acknowledgement is made only of completions: this node's own of its store, the others' of theirs. A write that ends before
/// its event is made is taken back from the own replica ([`Self::is_made`]), so that what its client is told stays true: nothing
/// happened, and nothing will.
#[derive(Debug)]
pub struct Write {
    /// What is written.
    pub key: ObjectKey,
    /// Who gets the answer.
    pub reply_to: ReplyTo,
    /// When it ends.
    pub deadline: Time,
    /// Where it must be to count.
    pub durability: Durability,
    tally: Tally,
    /// What the client is told when it is stored. `None` until the event is made.
    response: Option<Response>,
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
    /// A write whose event is not made yet. This node is one of the primaries.
    pub fn new(
        key: ObjectKey,
        reply_to: ReplyTo,
        deadline: Time,
        durability: Durability,
        needed: u8,
        primaries: impl Iterator<Item = NodeId>,
    ) -> Self {
        let tally = Tally::new(needed, primaries);
        Self { key, reply_to, deadline, durability, tally, response: None }
    }

    /// Whether it waits for this replica's answer.
    pub fn waits_for(&self, node: NodeId) -> bool {
        self.tally.silent().any(|silent| silent == node)
    }

    /// Notes who cannot be reached before anything is done; an error if the rest cannot be enough.
    ///
    /// # Errors
    /// [`RequestError::WriteQuorum`] that says that nothing was stored.
    pub fn check_reachable(&mut self, own: NodeId, reachable: impl Fn(NodeId) -> bool) -> Result<(), RequestError> {
        let away: Vec<_> = self.tally.not_asked().filter(|node| *node != own && !reachable(*node)).collect();
        for node in away {
            self.tally.record(node, ReplicaAnswer::Unreachable);
        }
        if self.tally.verdict() == Verdict::Lost { Err(self.error()) } else { Ok(()) }
    }

    /// Learns that the own replica has made the event; gives the peers to send it to. `response` is for the client, once enough
    /// have stored it.
    pub fn handle_made(&mut self, response: Response) -> Vec<NodeId> {
        self.response = Some(response);
        let asked: Vec<NodeId> = self.tally.not_asked().collect();
        for node in &asked {
            self.tally.ask(*node);
        }
        asked
    }

    /// Whether the own replica has made the event.
    pub fn is_made(&self) -> bool {
        self.response.is_some()
    }

    /// Takes a primary's word that it has stored the event, or not.
    pub fn handle_stored(&mut self, from: NodeId, result: Result<(), ReplicaError>) -> Step {
        self.tally.record(from, result.map_or_else(answer_of, |()| ReplicaAnswer::Done));
        self.step()
    }

    /// Learns that the connection to a peer is gone. If it was asked, whether it stored the event will not be known.
    pub fn handle_unreachable(&mut self, node: NodeId) -> Step {
        self.tally.lose(node);
        self.step()
    }

    /// Learns that its time is up.
    pub fn handle_deadline(&mut self) -> Step {
        Step::End(Err(self.error()))
    }

    fn step(&mut self) -> Step {
        match (self.tally.verdict(), &self.response) {
            (Verdict::Won, Some(response)) => Step::End(Ok(response.clone())),
            (Verdict::Lost, _) => Step::End(Err(self.error())),
            _ => Step::Wait,
        }
    }

    fn error(&self) -> RequestError {
        RequestError::WriteQuorum {
            needed: self.tally.needed(),
            reached: self.tally.reached(),
            answers: self.tally.answers().to_vec(),
        }
    }
}
