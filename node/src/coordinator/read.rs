//! Coordinating a read: of one key, or of a page of a partition. Generic in what replicas answer.

use quorate_ring::NodeId;
use quorate_ring::wire::{ReplicaAnswer, RequestError};

use super::tally::{Tally, Verdict};
use super::{ReplyTo, answer_of};
use crate::Time;
use quorate_ring::wire::ReplicaError;

/// A read of `A` from R of the primaries.
///
/// ```text
///             ask R ──▶ Waiting ──R answered──▶ Answered ──all asked answered, or deadline──▶ gone (repair what was stale)
///                        │ ▲ │
///   one fails, or slow:  └─┘ └──too few can──▶ gone (error)
///   ask one more
/// ```
///
/// It lives on after its answer while replicas that were asked are silent, so that a late reply that shows a stale replica still
/// leads to its repair.
#[derive(Debug)]
pub struct Read<Q, A> {
    /// What is read.
    pub question: Q,
    /// Who gets the answer.
    pub reply_to: ReplyTo,
    /// When it ends.
    pub deadline: Time,
    tally: Tally,
    answers: Vec<(NodeId, A)>,
    answered: bool,
}

/// What a read needs after something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing but time.
    Wait,
    /// The client can be answered from [`Read::answers`]; asked for once.
    Answer,
    /// The client must be told that it failed, and the read is over.
    Fail,
    /// All that were asked have answered, and so has been the client: what is stale can be repaired, and the read is over.
    End,
}

impl<Q, A> Read<Q, A> {
    /// A read that has asked nobody yet.
    pub fn new(
        question: Q,
        reply_to: ReplyTo,
        deadline: Time,
        needed: u8,
        primaries: impl Iterator<Item = NodeId>,
    ) -> Self {
        let tally = Tally::new(needed, primaries);
        Self { question, reply_to, deadline, tally, answers: Vec::new(), answered: false }
    }

    /// Chooses whom to ask now so that enough answers can come, this node first, and notes that they are asked. Primaries that
    /// cannot be reached are noted as such; if the others cannot be enough, nobody is asked.
    pub fn ask(&mut self, own: NodeId, reachable: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
        self.ask_some(self.tally.shortfall(), own, reachable)
    }

    /// Chooses one more to ask because those asked are slow; nobody if the client has been answered.
    pub fn hedge(&mut self, own: NodeId, reachable: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
        let more = usize::from(!self.answered);
        self.ask_some(more, own, reachable)
    }

    fn ask_some(&mut self, wanted: usize, own: NodeId, reachable: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
        let mut order: Vec<NodeId> = self.tally.not_asked().collect();
        order.sort_by_key(|node| *node != own);
        for node in order.extract_if(.., |node| *node != own && !reachable(*node)) {
            self.tally.record(node, ReplicaAnswer::Unreachable);
        }
        if self.tally.verdict() == Verdict::Lost {
            return Vec::new();
        }
        order.truncate(wanted);
        for node in &order {
            self.tally.ask(*node);
        }
        order
    }

    /// Takes a replica's answer; `complete` says whether it counts.
    pub fn handle_answer(&mut self, from: NodeId, answer: A, complete: bool) -> Step {
        let kind = if complete { ReplicaAnswer::Done } else { ReplicaAnswer::CatchingUp };
        if self.tally.record(from, kind) {
            self.answers.push((from, answer));
        }
        self.step()
    }

    /// Takes a replica's error.
    pub fn handle_error(&mut self, from: NodeId, error: ReplicaError) -> Step {
        self.tally.record(from, answer_of(error));
        self.step()
    }

    /// Learns that the connection to a peer is gone. A question to it will not be answered.
    pub fn handle_unreachable(&mut self, node: NodeId) -> Step {
        self.tally.record(node, ReplicaAnswer::Unreachable);
        self.step()
    }

    /// Learns that its time is up.
    pub fn handle_deadline(&mut self) -> Step {
        if self.answered { Step::End } else { Step::Fail }
    }

    /// Whether something is to be done now.
    pub fn step(&mut self) -> Step {
        match self.tally.verdict() {
            Verdict::Won if !self.answered => {
                self.answered = true;
                Step::Answer
            }
            Verdict::Lost if !self.answered => Step::Fail,
            Verdict::Won | Verdict::Lost if self.tally.silent().next().is_none() => Step::End,
            _ => Step::Wait,
        }
    }

    /// What was answered so far, and by whom.
    pub fn answers(&self) -> &[(NodeId, A)] {
        &self.answers
    }

    /// Why it failed.
    pub fn error(&self) -> RequestError {
        RequestError::ReadQuorum {
            needed: self.tally.needed(),
            reached: self.tally.reached(),
            answers: self.tally.answers().to_vec(),
        }
    }
}
