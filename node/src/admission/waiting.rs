//! Background messages that wait for the budget.

use std::collections::VecDeque;

use quorate_ring::NodeId;

/// Background messages of peers, in the order in which they came, one of each kind and peer: a peer waits for one answer at a time, so a
/// newer message takes the place of the one before, and its turn.
///
/// So there are at most twice as many as there are peers, and a peer that asks again and again comes no later for it.
#[derive(Debug)]
pub struct Waiting<M> {
    queue: VecDeque<(NodeId, Kind, M)>,
}

/// What a background message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A peer asks for much.
    Question,
    /// A peer brings much.
    Answer,
}

impl<M> Default for Waiting<M> {
    fn default() -> Self {
        Self { queue: VecDeque::new() }
    }
}

impl<M> Waiting<M> {
    /// A message is to wait.
    pub fn push(&mut self, from: NodeId, kind: Kind, message: M) {
        match self.queue.iter_mut().find(|(node, other, _)| (*node, *other) == (from, kind)) {
            Some((_, _, waiting)) => *waiting = message,
            None => self.queue.push_back((from, kind, message)),
        }
    }

    /// The next to be worked on.
    pub fn pop(&mut self) -> Option<(NodeId, M)> {
        self.queue.pop_front().map(|(from, _, message)| (from, message))
    }

    /// The connection to a peer is gone: what it asked need not be answered, and what it brought nobody waits for.
    pub fn forget(&mut self, peer: NodeId) {
        self.queue.retain(|(from, _, _)| *from != peer);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u32) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    #[test]
    fn a_newer_message_takes_the_turn_of_the_one_before() {
        let mut waiting = Waiting::default();
        waiting.push(node(1), Kind::Question, 'a');
        waiting.push(node(2), Kind::Question, 'b');
        waiting.push(node(1), Kind::Answer, 'c');
        waiting.push(node(1), Kind::Question, 'd');
        assert_eq!(waiting.len(), 3);
        let order: Vec<_> = std::iter::from_fn(|| waiting.pop()).collect();
        assert_eq!(order, [(node(1), 'd'), (node(2), 'b'), (node(1), 'c')]);
    }

    #[test]
    fn of_a_peer_that_is_gone_nothing_waits() {
        let mut waiting = Waiting::default();
        waiting.push(node(1), Kind::Question, 'a');
        waiting.push(node(2), Kind::Answer, 'b');
        waiting.forget(node(1));
        assert_eq!((waiting.pop(), waiting.is_empty()), (Some((node(2), 'b')), true));
    }
}
