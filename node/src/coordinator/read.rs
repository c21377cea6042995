//! Coordinating a read: of one key, or of a page of a partition. Generic in what replicas answer.

use std::collections::VecDeque;
use std::time::Duration;

use quorate_ring::NodeId;
use quorate_ring::wire::{ReplicaAnswer, RequestError};

use super::asking::Asking;
use super::tally::{Tally, Verdict};
use super::{ReplyTo, answer_of};
use crate::Time;
use crate::admission::ranking::Rank;
use quorate_ring::wire::ReplicaError;

/// A read of `A` from R of the primaries.
///
/// ```text
///             ask R ──▶ Waiting ──R answered──▶ Answered ──all asked answered, or deadline──▶ gone (repair what was stale)
///                        │ ▲ │
///   one fails, or slow:  └─┘ └──too few can──▶ gone (error)
///   ask one more, or one
///   that stands in
/// ```
///
/// Where fewer than R primaries can be reached, now or at any time before the answer, others answer in the place of as many as are
/// missing, from their hints: so few that every primary that can be reached is asked. A strict read has nobody stand in.
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
    /// Whom it waits for.
    pub asking: Asking,
    /// Bytes of the values that were answered.
    pub bytes: usize,
    tally: Tally,
    /// Who may stand in and does not yet, in preference order.
    fallbacks: VecDeque<NodeId>,
    answers: Vec<(NodeId, A)>,
    answered: bool,
    mending: Mending,
}

/// Whether the repair of those that were behind is part of a read.
///
/// ```text
/// Later: answered first
/// First ──all answered──▶ Open ──all have stored it──▶ Done (answer)
///                           └──one does not, or cannot, or deadline──▶ gone (error)
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mending {
    /// They are repaired after the answer.
    Later,
    /// They will be before it.
    First,
    /// They are being repaired: each that has not stored it, and what is known of it.
    Open(Vec<(NodeId, ReplicaAnswer)>),
    /// They are repaired.
    Done,
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
        (begun, deadline): (Time, Time),
        needed: u8,
        primaries: impl Iterator<Item = NodeId>,
    ) -> Self {
        let tally = Tally::new(needed, primaries);
        let asking = Asking::new(begun, deadline);
        Self {
            question,
            reply_to,
            deadline,
            asking,
            bytes: 0,
            tally,
            fallbacks: VecDeque::new(),
            answers: Vec::new(),
            answered: false,
            mending: Mending::Later,
        }
    }

    /// The same, and these may stand in for primaries that are away, in this order.
    #[must_use]
    pub fn with_fallbacks(mut self, fallbacks: impl Iterator<Item = NodeId>) -> Self {
        self.fallbacks = fallbacks.collect();
        self
    }

    /// The same, answered when those that are behind have stored what they lack.
    #[must_use]
    pub fn mending_first(mut self) -> Self {
        self.mending = Mending::First;
        self
    }

    /// Whether those that are behind are to be repaired now.
    pub fn is_to_mend(&self) -> bool {
        self.mending == Mending::First
    }

    /// Whether those that were behind have been repaired.
    pub fn is_mended(&self) -> bool {
        self.mending == Mending::Done
    }

    /// These are being repaired.
    pub fn mend(&mut self, stale: Vec<NodeId>) -> Step {
        if stale.is_empty() {
            self.mending = Mending::Done;
            return Step::Answer;
        }
        self.mending = Mending::Open(stale.into_iter().map(|node| (node, ReplicaAnswer::Silent)).collect());
        Step::Wait
    }

    /// Takes a node's word that it has stored the repair, or not.
    pub fn handle_mended(&mut self, from: NodeId, result: Result<(), ReplicaError>) -> Step {
        let Mending::Open(open) = &mut self.mending else { return Step::Wait };
        match result {
            Ok(()) => open.retain(|(node, _)| *node != from),
            Err(error) => return self.fail_to_mend(from, answer_of(error)),
        }
        if open.is_empty() {
            self.mending = Mending::Done;
            return Step::Answer;
        }
        Step::Wait
    }

    fn fail_to_mend(&mut self, node: NodeId, answer: ReplicaAnswer) -> Step {
        let Mending::Open(open) = &mut self.mending else { return Step::Wait };
        let Some((_, known)) = open.iter_mut().find(|(open, _)| *open == node) else { return Step::Wait };
        *known = answer;
        Step::Fail
    }

    /// Whether it waits for this replica's answer, or its repair.
    pub fn waits_for(&self, node: NodeId) -> bool {
        let mends = matches!(&self.mending, Mending::Open(open) if open.iter().any(|(open, _)| *open == node));
        mends || self.tally.waits_for(node)
    }

    /// Chooses whom to ask now so that enough answers can come, the best ranked first, and notes that they are asked. Primaries without
    /// a rank cannot be reached, and are noted as such; if the others cannot be enough, nobody is asked.
    pub fn ask(&mut self, now: Time, rank: impl Fn(NodeId) -> Option<Rank>) -> Vec<NodeId> {
        self.ask_some(now, self.shortfall(), rank)
    }

    /// Chooses so many more to ask because those asked are slow; nobody if the client has been answered.
    pub fn hedge(&mut self, now: Time, more: usize, rank: impl Fn(NodeId) -> Option<Rank>) -> Vec<NodeId> {
        let more = if self.answered { 0 } else { more };
        self.ask_some(now, more, rank)
    }

    /// Chooses who is to answer in the place of primaries that are away, if without them too few can, and notes that they are asked. Those
    /// who are away themselves by now stand in for nobody any more.
    pub fn call_stand_ins(
        &mut self,
        now: Time,
        away: impl Fn(NodeId) -> bool,
        patience: impl Fn(NodeId) -> Duration,
    ) -> Vec<NodeId> {
        self.fallbacks.retain(|node| !away(*node));
        let missing = usize::from(self.tally.needed()).saturating_sub(self.tally.hopeful(&away));
        let forsaken = self.tally.forsaken(&away).into_iter().take(missing);
        let asked: Vec<(NodeId, NodeId)> =
            forsaken.zip(&self.fallbacks).map(|(primary, node)| (*node, primary)).collect();
        for (node, primary) in &asked {
            self.fallbacks.pop_front();
            self.tally.stand_in(*node, *primary);
            self.asking.handle_asked(now, *node, patience(*node));
        }
        asked.into_iter().map(|(node, _)| node).collect()
    }

    fn verdict(&self) -> Verdict {
        self.tally.verdict_with(self.fallbacks.len())
    }

    /// Notes that a node is asked besides, for what its answer teaches.
    pub fn probe(&mut self, now: Time, node: NodeId) {
        self.tally.ask(node);
        self.asking.handle_probed(now, node);
    }

    /// Whether so many are asked that enough answers can be expected.
    pub fn asks_enough(&self) -> bool {
        self.shortfall() == 0
    }

    /// How many more must be asked so that enough answers can be expected: those needed, less those that answered, and less those
    /// that are waited for and in whose place nobody is asked. Where that one fails, there is another shortfall.
    fn shortfall(&self) -> usize {
        let hopeful = usize::from(self.tally.reached()) + self.asking.hopeful();
        usize::from(self.tally.needed()).saturating_sub(hopeful)
    }

    /// Whom nobody asked yet.
    pub fn left_out(&self) -> impl Iterator<Item = NodeId> {
        self.tally.not_asked()
    }

    /// How many more can be asked if this goes on to be slow.
    pub fn left_to_ask(&self) -> usize {
        if self.answered { 0 } else { self.tally.not_asked().count() }
    }

    fn ask_some(&mut self, now: Time, wanted: usize, rank: impl Fn(NodeId) -> Option<Rank>) -> Vec<NodeId> {
        let mut order: Vec<(Rank, NodeId)> = Vec::new();
        let not_asked: Vec<NodeId> = self.tally.not_asked().collect();
        for node in not_asked {
            match rank(node) {
                Some(rank) => order.push((rank, node)),
                None => drop(self.tally.record(node, ReplicaAnswer::Unreachable)),
            }
        }
        if self.verdict() == Verdict::Lost {
            return Vec::new();
        }
        // Stable: where nothing speaks for one, the preference list does.
        order.sort_by_key(|(rank, _)| (rank.class, rank.score));
        order.truncate(wanted);
        for (rank, node) in &order {
            self.tally.ask(*node);
            self.asking.handle_asked(now, *node, rank.patience);
        }
        order.into_iter().map(|(_, node)| node).collect()
    }

    /// Takes a replica's answer; `complete` says whether it counts.
    pub fn handle_answer(&mut self, from: NodeId, answer: A, complete: bool) -> Step {
        self.asking.settle(from);
        let kind = if complete { ReplicaAnswer::Done } else { ReplicaAnswer::CatchingUp };
        if self.tally.record(from, kind) {
            self.answers.push((from, answer));
        }
        self.step()
    }

    /// Takes a replica's error.
    pub fn handle_error(&mut self, from: NodeId, error: ReplicaError) -> Step {
        self.asking.settle(from);
        self.tally.record(from, answer_of(error));
        self.step()
    }

    /// Learns that the connection to a peer is gone. A question to it will not be answered.
    pub fn handle_unreachable(&mut self, node: NodeId) -> Step {
        self.asking.settle(node);
        self.tally.record(node, ReplicaAnswer::Unreachable);
        match &self.mending {
            Mending::Open(_) => self.fail_to_mend(node, ReplicaAnswer::Unreachable),
            _ => self.step(),
        }
    }

    /// Learns that its time is up.
    pub fn handle_deadline(&mut self) -> Step {
        let is_open = matches!(self.mending, Mending::Open(_));
        if self.answered && !is_open { Step::End } else { Step::Fail }
    }

    /// Whether something is to be done now.
    pub fn step(&mut self) -> Step {
        match self.verdict() {
            Verdict::Won if !self.answered => {
                self.answered = true;
                Step::Answer
            }
            // Also when an answer comes twice meanwhile.
            Verdict::Won if matches!(self.mending, Mending::Open(_)) => Step::Wait,
            Verdict::Won if self.tally.silent().next().is_none() => Step::End,
            // Never after the answer: an answer that counted goes on counting.
            Verdict::Lost => Step::Fail,
            Verdict::Won | Verdict::Pending => Step::Wait,
        }
    }

    /// What was answered so far, and by whom.
    pub fn answers(&self) -> &[(NodeId, A)] {
        &self.answers
    }

    /// Why it failed.
    pub fn error(&self) -> RequestError {
        let (needed, reached) = (self.tally.needed(), self.tally.reached());
        let mut answers = self.tally.all_answers();
        let Mending::Open(open) = &self.mending else { return RequestError::ReadQuorum { needed, reached, answers } };
        for (node, answer) in answers.iter_mut() {
            if let Some((_, known)) = open.iter().find(|(open, _)| open == node) {
                *answer = known.clone();
            }
        }
        let left = u8::try_from(open.len()).expect("a quorum has at most 16 replicas");
        RequestError::ReadQuorum { needed, reached: reached.saturating_sub(left), answers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SessionId;
    use crate::admission::ranking::Class;
    use quorate_ring::wire::RequestId;

    fn node(number: u32) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    /// A read of R of the nodes 1, 2 and 3.
    fn read(needed: u8) -> Read<(), &'static str> {
        let reply_to = ReplyTo::Client { session: SessionId(0), request: RequestId(0) };
        Read::new((), reply_to, (Time::default(), Time::default()), needed, (1..=3).map(node))
    }

    const NOW: Time = Time::from_micros(0);

    const fn usual(class: Class, score: u64) -> Rank {
        Rank { class, score, patience: std::time::Duration::from_millis(1) }
    }

    /// The ranks that a node gives which reaches these.
    fn at(own: NodeId, reaches: impl Fn(NodeId) -> bool) -> impl Fn(NodeId) -> Option<Rank> {
        move |node| match node == own {
            true => Some(usual(Class::Own, 0)),
            false => reaches(node).then_some(usual(Class::Usual, 1)),
        }
    }

    fn all(_: NodeId) -> bool {
        true
    }

    #[test]
    fn r_are_asked_and_this_node_is_the_first_of_them() {
        assert_eq!(read(2).ask(NOW, at(node(3), all)), [node(3), node(1)]);
        assert_eq!(read(3).ask(NOW, at(node(4), all)), [node(1), node(2), node(3)]);
    }

    #[test]
    fn the_best_ranked_are_asked_first_and_equals_in_order_of_preference() {
        let rank = |node: NodeId| Some(usual(Class::Usual, u64::from(node.number() % 3 + 1)));
        assert_eq!(read(2).ask(NOW, rank), [node(3), node(1)]);
        let mut slow = read(1);
        assert_eq!((slow.ask(NOW, rank), slow.hedge(NOW, 2, rank)), (vec![node(3)], vec![node(1), node(2)]));
        assert_eq!(read(2).ask(NOW, |_| Some(usual(Class::Away, 7))), [node(1), node(2)]);
    }

    #[test]
    fn others_stand_in_for_as_many_as_are_missing_and_count_once_with_them() {
        let mut read = read(3).with_fallbacks([node(4), node(5)].into_iter());
        let patience = |_| Duration::from_millis(20);
        assert_eq!(read.ask(NOW, at(node(1), all)), [node(1), node(2), node(3)]);
        assert_eq!(read.call_stand_ins(NOW, |_| false, patience), [], "all may answer");
        read.handle_answer(node(1), "one", true);
        assert_eq!(read.call_stand_ins(NOW, |away| away == node(2), patience), [node(4)]);
        assert_eq!(read.call_stand_ins(NOW, |away| away == node(2), patience), [], "one does already");
        assert!(read.waits_for(node(4)));
        assert_eq!(read.handle_answer(node(4), "four", true), Step::Wait);
        assert_eq!(read.handle_answer(node(2), "two", true), Step::Wait, "one place");
        assert_eq!(read.handle_answer(node(3), "three", true), Step::Answer);
    }

    #[test]
    fn a_read_fails_when_nobody_is_left_to_stand_in() {
        let mut read = read(3).with_fallbacks([node(4)].into_iter());
        let patience = |_| Duration::from_millis(20);
        read.ask(NOW, at(node(1), all));
        assert_eq!(read.handle_unreachable(node(2)), Step::Wait, "another may stand in");
        assert_eq!(read.call_stand_ins(NOW, |away| away == node(2), patience), [node(4)]);
        assert_eq!(read.handle_unreachable(node(4)), Step::Fail);
    }

    #[test]
    fn those_asked_are_not_asked_again_while_they_may_answer() {
        let mut read = read(2);
        read.ask(NOW, at(node(1), all));
        assert_eq!(read.ask(NOW, at(node(1), all)), []);
        assert_eq!(read.handle_answer(node(1), "one", true), Step::Wait);
        assert_eq!(read.ask(NOW, at(node(1), all)), []);
        assert_eq!(read.handle_error(node(2), ReplicaError::Overloaded), Step::Wait);
        assert_eq!(read.ask(NOW, at(node(1), all)), [node(3)], "one of the two failed");
    }

    #[test]
    fn this_node_reaches_itself_and_the_unreachable_are_passed_over() {
        let mut read = read(2);
        assert_eq!(read.ask(NOW, at(node(1), |peer| peer == node(3))), [node(1), node(3)]);
        assert_eq!(
            read.error(),
            error(2, 0, [ReplicaAnswer::Silent, ReplicaAnswer::Unreachable, ReplicaAnswer::Silent])
        );
    }

    #[test]
    fn nobody_is_asked_where_too_few_can_be_reached() {
        let mut read = read(2);
        assert_eq!(read.ask(NOW, at(node(1), |_| false)), []);
        assert_eq!(read.step(), Step::Fail);
        let [not_asked, away] = [ReplicaAnswer::NotAsked, ReplicaAnswer::Unreachable];
        assert_eq!(read.error(), error(2, 0, [not_asked, away.clone(), away]));
    }

    #[test]
    fn a_slow_read_asks_one_more_and_an_answered_one_does_not() {
        let mut read = read(1);
        assert_eq!(read.ask(NOW, at(node(1), all)), [node(1)]);
        assert!(read.left_to_ask() == 2 && read.waits_for(node(1)) && !read.waits_for(node(2)));
        assert_eq!(read.hedge(NOW, 1, at(node(1), all)), [node(2)]);
        assert_eq!(read.left_to_ask(), 1);
        assert_eq!(read.handle_answer(node(2), "two", true), Step::Answer);
        assert!(read.left_to_ask() == 0 && !read.waits_for(node(2)));
        assert_eq!(read.hedge(NOW, 1, at(node(1), all)), []);
    }

    #[test]
    fn the_answer_is_asked_for_once_and_the_read_lives_until_all_asked_have_answered() {
        let mut read = read(2);
        read.ask(NOW, at(node(1), all));
        read.hedge(NOW, 1, at(node(1), all));
        assert_eq!(read.handle_answer(node(1), "one", true), Step::Wait);
        assert_eq!(read.handle_answer(node(3), "three", true), Step::Answer);
        assert_eq!(read.step(), Step::Wait, "node 2 may still show that it is stale");
        assert_eq!(read.handle_answer(node(2), "two", true), Step::End);
        assert_eq!(read.answers(), [(node(1), "one"), (node(3), "three"), (node(2), "two")]);
    }

    #[test]
    fn a_silent_replica_whose_connection_is_gone_is_not_waited_for() {
        let mut read = read(1);
        read.ask(NOW, at(node(1), all));
        read.hedge(NOW, 1, at(node(1), all));
        assert_eq!(read.handle_answer(node(1), "one", true), Step::Answer);
        assert_eq!(read.handle_unreachable(node(2)), Step::End);
    }

    #[test]
    fn a_read_that_repairs_first_lives_until_the_repair_is_stored_whatever_else_comes() {
        let mut read = read(3).mending_first();
        read.ask(NOW, at(node(1), all));
        assert_eq!(read.handle_answer(node(1), "new", true), Step::Wait);
        assert_eq!(read.handle_answer(node(2), "old", true), Step::Wait);
        assert_eq!(read.handle_answer(node(3), "new", true), Step::Answer);
        assert!(read.is_to_mend());
        assert_eq!(read.mend(vec![node(2)]), Step::Wait);
        assert_eq!(read.handle_answer(node(3), "new", true), Step::Wait, "it came twice");
        assert_eq!(read.handle_mended(node(2), Ok(())), Step::Answer);
        assert!(read.is_mended());
    }

    #[test]
    fn in_the_place_of_one_that_was_asked_in_anothers_and_fails_the_next_is_asked() {
        let mut read = read(2);
        read.ask(NOW, at(node(1), all));
        assert_eq!(read.handle_answer(node(1), "one", true), Step::Wait);
        let late = NOW + std::time::Duration::from_millis(1);
        read.asking.handle_replaced(late, 1);
        assert!(!read.asks_enough(), "node 2 is late, and nobody is asked in its place yet");
        assert_eq!(read.ask(late, at(node(1), all)), [node(3)]);
        assert!(read.asks_enough());
        assert_eq!(read.handle_error(node(3), ReplicaError::Overloaded), Step::Wait);
        assert!(!read.asks_enough(), "node 2 is late still");
        assert_eq!(read.handle_answer(node(2), "two", true), Step::Answer);
    }

    #[test]
    fn a_second_answer_of_a_replica_is_not_taken() {
        let mut read = read(2);
        read.ask(NOW, at(node(1), all));
        for answer in ["one", "another"] {
            assert_eq!(read.handle_answer(node(1), answer, true), Step::Wait);
        }
        assert_eq!(read.answers(), [(node(1), "one")]);
    }

    #[test]
    fn the_deadline_fails_a_read_without_answer_and_ends_one_with() {
        let mut read = read(1);
        read.ask(NOW, at(node(1), all));
        assert_eq!(read.handle_deadline(), Step::Fail);
        assert_eq!(read.handle_answer(node(1), "one", true), Step::Answer);
        assert_eq!(read.handle_deadline(), Step::End);
    }

    #[test]
    fn replicas_that_catch_up_do_not_count_and_what_they_say_is_kept() {
        let mut read = read(2);
        read.ask(NOW, at(node(1), all));
        assert_eq!(read.handle_answer(node(1), "one", false), Step::Wait);
        assert_eq!(read.handle_answer(node(2), "two", true), Step::Wait);
        assert_eq!(read.handle_error(node(3), ReplicaError::StorageFailed), Step::Fail);
        assert_eq!(read.answers(), [(node(1), "one"), (node(2), "two")]);
        assert_eq!(
            read.error(),
            error(2, 1, [ReplicaAnswer::CatchingUp, ReplicaAnswer::Done, ReplicaAnswer::StorageFailed])
        );
    }

    fn error(needed: u8, reached: u8, answers: [ReplicaAnswer; 3]) -> RequestError {
        RequestError::ReadQuorum { needed, reached, answers: (1..=3).map(node).zip(answers).collect() }
    }
}
