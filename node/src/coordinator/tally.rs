//! Counting replies, apart from sending and from what is in them (Riak's `riak_kv_get_core` and `_put_core`).

use quorate_ring::NodeId;
use quorate_ring::wire::ReplicaAnswer;

/// What the primaries of a key have said so far to one request.
///
/// ```text
/// NotAsked ──ask──▶ Silent ──record──▶ Done | CatchingUp | Overloaded | StorageFailed | NotResponsible | Unreachable
///     └───────────────────record────────────────────────────────▲
/// ```
///
/// A node's first definite answer is final: a duplicate, or a late one after the node was given up, does not count again.
///
/// Each primary has a *place*. A stand-in counts in the place of the primary that it stands in for, which counts once, whoever of
/// the two is first. A stand-in is never a primary and stands in once, so places done are as many distinct nodes.
///
/// While one epoch follows another a write needs its quorum among the primaries of each: one place may be in several quorums. A primary that does
/// not hold the partition any more then knows that an epoch was dropped, which this node will hear of: its place counts as open until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    needed: u8,
    /// The primaries that make up each quorum; none if all make up one.
    quorums: Vec<Vec<NodeId>>,
    answers: Vec<(NodeId, ReplicaAnswer)>,
    /// Asked, silent, and not to be heard of any more.
    gone: Vec<NodeId>,
    /// In the order they were asked.
    stand_ins: Vec<StandIn>,
}

/// Which primaries must do what is asked: all of them, or these.
#[derive(Clone, Copy)]
struct Quorum<'a>(Option<&'a Vec<NodeId>>);

/// A node that was asked in the place of a primary.
#[derive(Clone, Debug, PartialEq, Eq)]
struct StandIn {
    node: NodeId,
    primary: NodeId,
    answer: ReplicaAnswer,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// More answers are needed and may come.
    Pending,
    /// Enough replicas did what was asked.
    Won,
    /// Not enough can any more.
    Lost,
}

impl Tally {
    /// Nobody asked yet; `needed` of these must do what is asked.
    pub fn new(needed: u8, primaries: impl Iterator<Item = NodeId>) -> Self {
        let answers: Vec<_> = primaries.map(|node| (node, ReplicaAnswer::NotAsked)).collect();
        assert!(1 <= needed && usize::from(needed) <= answers.len(), "a quorum is valid by construction");
        Self { needed, quorums: Vec::new(), answers, gone: Vec::new(), stand_ins: Vec::new() }
    }

    /// The same, but `needed` of each of these sets of primaries must do what is asked.
    ///
    /// # Panics
    /// If one of them is no primary, or they are fewer.
    pub fn in_each(mut self, quorums: Vec<Vec<NodeId>>) -> Self {
        let is_whole = |quorum: &Vec<NodeId>| usize::from(self.needed) <= quorum.len();
        assert!(quorums.iter().all(is_whole), "a quorum is valid by construction");
        assert!(quorums.iter().flatten().all(|node| self.entry(*node).is_some()), "a quorum is of primaries");
        self.quorums = if quorums.len() < 2 { Vec::new() } else { quorums };
        self
    }

    /// From now on only those quorums count that are among these. `true` if there were others.
    pub fn retain_quorums(&mut self, live: &[Vec<NodeId>]) -> bool {
        let before = self.quorums.len();
        if self.quorums.iter().any(|quorum| live.contains(quorum)) {
            self.quorums.retain(|quorum| live.contains(quorum));
        }
        self.quorums.len() < before
    }

    /// Notes that a primary is being asked.
    pub fn ask(&mut self, node: NodeId) {
        if let Some(answer @ ReplicaAnswer::NotAsked) = self.said(node) {
            *answer = ReplicaAnswer::Silent;
        }
    }

    /// Notes that a node is being asked in the place of a primary.
    ///
    /// # Panics
    /// If it is a primary, or stands in already: then one node would count for two.
    pub fn stand_in(&mut self, node: NodeId, primary: NodeId) {
        assert!(self.entry(node).is_none(), "a primary stands in for nobody");
        assert!(self.stand_ins.iter().all(|known| known.node != node), "a node stands in once");
        assert!(self.entry(primary).is_some(), "a stand-in has a primary");
        self.stand_ins.push(StandIn { node, primary, answer: ReplicaAnswer::Silent });
    }

    /// The primaries whose places nobody fills or may yet fill, while that is not because they are overloaded, in preference order:
    /// `away` says of whom nothing is to be expected now.
    pub fn forsaken(&self, away: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
        let forsaken = |(node, answer): &&(NodeId, ReplicaAnswer)| {
            let is_gone = match answer {
                ReplicaAnswer::Unreachable | ReplicaAnswer::StorageFailed => true,
                ReplicaAnswer::Silent => self.gone.contains(node) || away(*node),
                _ => false,
            };
            let hopeful = |known: &StandIn| match known.answer {
                ReplicaAnswer::Done => true,
                ReplicaAnswer::Silent => !self.gone.contains(&known.node) && !away(known.node),
                _ => false,
            };
            is_gone && !self.stand_ins.iter().any(|known| known.primary == *node && hopeful(known))
        };
        self.answers.iter().filter(forsaken).map(|(node, _)| *node).collect()
    }

    /// Notes the answer of a primary, or of one that stands in for it. `false` if it is neither, or has answered before: then nothing
    /// changed.
    pub fn record(&mut self, node: NodeId, answer: ReplicaAnswer) -> bool {
        match self.said(node) {
            Some(known @ (ReplicaAnswer::NotAsked | ReplicaAnswer::Silent)) => {
                *known = answer;
                true
            }
            _ => false,
        }
    }

    /// Notes that the connection to a primary is gone: if it was asked, it will not answer any more, but may have done what was
    /// asked; if not, it cannot be.
    pub fn lose(&mut self, node: NodeId) {
        match self.said(node) {
            Some(answer @ ReplicaAnswer::NotAsked) => *answer = ReplicaAnswer::Unreachable,
            Some(ReplicaAnswer::Silent) => self.gone.push(node),
            _ => {}
        }
    }

    /// Where the request stands, if so many more nodes may yet stand in.
    pub fn verdict_with(&self, spare: usize) -> Verdict {
        self.in_all(|quorum| match self.verdict_of(quorum) {
            Verdict::Lost
                if usize::from(self.needed)
                    <= self.done(quorum) + self.open(quorum) + spare.min(self.vacant(quorum)) =>
            {
                Verdict::Pending
            }
            verdict => verdict,
        })
    }

    /// Where the request stands.
    ///
    /// Replicas that are catching up after a loss do not count, with one exception: when *all* primaries have answered there is
    /// nothing more to know, and the answer is as good as the cluster has.
    pub fn verdict(&self) -> Verdict {
        self.in_all(|quorum| self.verdict_of(quorum))
    }

    /// What all quorums together come to: one that is lost is the end.
    fn in_all(&self, verdict: impl Fn(Quorum<'_>) -> Verdict) -> Verdict {
        self.each_quorum().map(verdict).fold(Verdict::Won, |all, one| match (all, one) {
            (Verdict::Lost, _) | (_, Verdict::Lost) => Verdict::Lost,
            (Verdict::Pending, _) | (_, Verdict::Pending) => Verdict::Pending,
            (Verdict::Won, Verdict::Won) => Verdict::Won,
        })
    }

    fn verdict_of(&self, quorum: Quorum<'_>) -> Verdict {
        let (done, open, needed) = (self.done(quorum), self.open(quorum), usize::from(self.needed));
        if needed <= done || self.all_places(quorum, |node, answer| self.has_answered(node, answer)) {
            Verdict::Won
        } else if needed <= done + open
            || self.all_places(quorum, |node, answer| self.has_answered(node, answer) || self.is_open(node, answer))
        {
            Verdict::Pending
        } else {
            Verdict::Lost
        }
    }

    /// How many places are filled, or may yet be by somebody who is not away.
    pub fn hopeful(&self, away: impl Fn(NodeId) -> bool) -> usize {
        let may = |node: NodeId, answer: &ReplicaAnswer| match answer {
            ReplicaAnswer::Done => true,
            ReplicaAnswer::NotAsked | ReplicaAnswer::Silent => !self.gone.contains(&node) && !away(node),
            _ => false,
        };
        let stands_in = |primary: NodeId| {
            self.stand_ins.iter().any(|known| known.primary == primary && may(known.node, &known.answer))
        };
        self.answers.iter().filter(|(node, answer)| may(*node, answer) || stands_in(*node)).count()
    }

    /// The primaries nobody has asked yet, in preference order.
    pub fn not_asked(&self) -> impl Iterator<Item = NodeId> {
        self.with(ReplicaAnswer::NotAsked)
    }

    /// The primaries that were asked and may yet answer, in preference order.
    pub fn silent(&self) -> impl Iterator<Item = NodeId> {
        self.with(ReplicaAnswer::Silent).filter(|node| !self.gone.contains(node))
    }

    /// Whether a node was asked, in its own place or another's, and may yet answer.
    pub fn waits_for(&self, node: NodeId) -> bool {
        let stands_in = |known: &StandIn| known.node == node && known.answer == ReplicaAnswer::Silent;
        let asked = self.stand_ins.iter().any(stands_in) || self.with(ReplicaAnswer::Silent).any(|known| known == node);
        asked && !self.gone.contains(&node)
    }

    /// How many places are filled, in the quorum that has the fewest.
    pub fn reached(&self) -> u8 {
        let fewest = self.each_quorum().map(|quorum| self.done(quorum)).min().unwrap_or_default();
        u8::try_from(fewest).expect("a quorum has at most 16 replicas")
    }

    /// How many must, in each.
    pub fn needed(&self) -> u8 {
        self.needed
    }

    /// What each primary said, in preference order.
    pub fn answers(&self) -> &[(NodeId, ReplicaAnswer)] {
        &self.answers
    }

    /// What each primary said, in preference order, and then each that stood in.
    pub fn all_answers(&self) -> Vec<(NodeId, ReplicaAnswer)> {
        let stand_ins = self.stand_ins.iter().map(|known| (known.node, known.answer.clone()));
        self.answers.iter().cloned().chain(stand_ins).collect()
    }

    fn with(&self, wanted: ReplicaAnswer) -> impl Iterator<Item = NodeId> {
        self.answers.iter().filter(move |(_, answer)| *answer == wanted).map(|(node, _)| *node)
    }

    fn each_quorum(&self) -> impl Iterator<Item = Quorum<'_>> {
        let all = self.quorums.is_empty().then_some(Quorum(None));
        all.into_iter().chain(self.quorums.iter().map(|quorum| Quorum(Some(quorum))))
    }

    /// The places of a quorum.
    fn places(&self, quorum: Quorum<'_>) -> impl Iterator<Item = &(NodeId, ReplicaAnswer)> {
        self.answers.iter().filter(move |(node, _)| quorum.0.is_none_or(|quorum| quorum.contains(node)))
    }

    /// Whether this holds of every place. One of which it holds for two reasons, as it does where a primary that is catching up has
    /// answered and so has one that stands in for it, is one place still.
    fn all_places(&self, quorum: Quorum<'_>, holds: impl Fn(NodeId, &ReplicaAnswer) -> bool) -> bool {
        self.places(quorum).all(|(node, answer)| holds(*node, answer))
    }

    /// Whether a place is filled, or its primary has told what it has so far.
    fn has_answered(&self, primary: NodeId, answer: &ReplicaAnswer) -> bool {
        *answer == ReplicaAnswer::CatchingUp || self.is_done(primary, answer)
    }

    /// How many places are filled: by the primary, or by one that stands in for it.
    fn done(&self, quorum: Quorum<'_>) -> usize {
        self.places(quorum).filter(|(node, answer)| self.is_done(*node, answer)).count()
    }

    fn is_done(&self, primary: NodeId, answer: &ReplicaAnswer) -> bool {
        let stands_in = |known: &StandIn| known.primary == primary && known.answer == ReplicaAnswer::Done;
        *answer == ReplicaAnswer::Done || self.stand_ins.iter().any(stands_in)
    }

    /// How many places may yet be filled by those that were asked, or by a primary that was not.
    fn open(&self, quorum: Quorum<'_>) -> usize {
        let open =
            |(node, answer): &&(NodeId, ReplicaAnswer)| !self.is_done(*node, answer) && self.is_open(*node, answer);
        self.places(quorum).filter(open).count()
    }

    fn is_open(&self, primary: NodeId, answer: &ReplicaAnswer) -> bool {
        let hopeful =
            |node: NodeId, answer: &ReplicaAnswer| *answer == ReplicaAnswer::Silent && !self.gone.contains(&node);
        *answer == ReplicaAnswer::NotAsked
            || *answer == ReplicaAnswer::NotResponsible && !self.quorums.is_empty()
            || hopeful(primary, answer)
            || self.stand_ins.iter().any(|known| known.primary == primary && hopeful(known.node, &known.answer))
    }

    /// How many places somebody could still fill who stands in.
    fn vacant(&self, quorum: Quorum<'_>) -> usize {
        let given_up = self.forsaken(|_| false);
        self.places(quorum).filter(|(node, _)| given_up.contains(node)).count()
    }

    fn said(&mut self, node: NodeId) -> Option<&mut ReplicaAnswer> {
        let primary = self.answers.iter_mut().find(|(known, _)| *known == node).map(|(_, answer)| answer);
        let stand_in = self.stand_ins.iter_mut().find(|known| known.node == node).map(|known| &mut known.answer);
        primary.or(stand_in)
    }

    fn entry(&self, node: NodeId) -> Option<&(NodeId, ReplicaAnswer)> {
        self.answers.iter().find(|(known, _)| *known == node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u32) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    fn tally(needed: u8) -> Tally {
        Tally::new(needed, (1..=3).map(node))
    }

    #[test]
    fn a_primary_that_is_catching_up_and_its_stand_in_have_answered_for_one_place() {
        let mut tally = tally(3);
        (1..=3).for_each(|number| tally.ask(node(number)));
        tally.record(node(1), ReplicaAnswer::Done);
        tally.stand_in(node(4), node(2));
        tally.record(node(2), ReplicaAnswer::CatchingUp);
        assert_eq!(tally.verdict(), Verdict::Pending);
        tally.record(node(4), ReplicaAnswer::Done);
        assert_eq!(tally.verdict(), Verdict::Pending, "n3 may be the only one that has what is asked for");
        tally.record(node(3), ReplicaAnswer::CatchingUp);
        assert_eq!(tally.verdict(), Verdict::Won, "all have answered");
    }

    #[test]
    fn a_primary_that_gave_the_partition_up_decides_nothing_until_its_epoch_is_dropped_here_too() {
        let quorums = || vec![[1, 2, 3].map(node).to_vec(), [1, 4, 5].map(node).to_vec()];
        let mut tally = Tally::new(2, (1..=5).map(node)).in_each(quorums());
        (1..=5).for_each(|number| tally.ask(node(number)));
        for number in [2, 3] {
            tally.record(node(number), ReplicaAnswer::NotResponsible);
        }
        tally.record(node(1), ReplicaAnswer::Done);
        tally.record(node(4), ReplicaAnswer::Done);
        assert_eq!(tally.verdict(), Verdict::Pending);
        assert!(!tally.retain_quorums(&quorums()));
        assert!(tally.retain_quorums(&quorums()[1..]));
        assert_eq!(tally.verdict(), Verdict::Won);
    }

    #[test]
    fn the_tally_says_who_was_asked_and_who_not() {
        let mut tally = tally(2);
        assert!(tally.not_asked().eq([1, 2, 3].map(node)));
        assert_eq!(tally.silent().count(), 0);
        tally.ask(node(3));
        tally.ask(node(1));
        assert!(tally.not_asked().eq([node(2)]) && tally.silent().eq([1, 3].map(node)));
        tally.record(node(1), ReplicaAnswer::Done);
        tally.ask(node(1));
        assert!(tally.silent().eq([node(3)]), "an answer is not forgotten");
        assert_eq!((tally.reached(), tally.needed()), (1, 2));
    }

    #[test]
    fn a_primary_that_went_before_it_was_asked_cannot_be_asked() {
        let mut tally = tally(2);
        tally.lose(node(2));
        assert_eq!(tally.answers()[1], (node(2), ReplicaAnswer::Unreachable));
        assert_eq!(tally.verdict(), Verdict::Pending);
        tally.lose(node(3));
        assert_eq!(tally.verdict(), Verdict::Lost);
    }

    /// What became of a question to a node.
    #[derive(Clone, PartialEq, Eq)]
    enum Said {
        NotAsked,
        Silent,
        /// Its connection broke before it answered.
        Gone,
        Answered(ReplicaAnswer),
    }

    impl Said {
        /// Whether something is there, or may be of a node that is away or is not.
        fn is_hopeful(&self, away: bool) -> bool {
            match self {
                Self::Silent | Self::NotAsked => !away,
                Self::Gone => false,
                Self::Answered(answer) => *answer == ReplicaAnswer::Done,
            }
        }

        fn is_given_up(&self, away: bool) -> bool {
            match self {
                Self::NotAsked => false,
                Self::Silent => away,
                Self::Gone => true,
                Self::Answered(answer) => matches!(answer, ReplicaAnswer::Unreachable | ReplicaAnswer::StorageFailed),
            }
        }

        fn tell(&self, tally: &mut Tally, node: NodeId) {
            match self {
                Self::Silent | Self::NotAsked => {}
                Self::Gone => tally.lose(node),
                Self::Answered(answer) => assert!(tally.record(node, answer.clone())),
            }
        }
    }

    #[test]
    fn a_place_is_hoped_for_or_forsaken_or_waited_for_by_what_its_primary_and_its_stand_in_say() {
        use ReplicaAnswer::{CatchingUp, Done, Overloaded, StorageFailed, Unreachable};
        let answered = || [Done, CatchingUp, Overloaded, StorageFailed, Unreachable].map(Said::Answered);
        let asked = || [Said::Silent, Said::Gone].into_iter().chain(answered());
        let (primary, other) = (node(1), node(4));
        for said in asked().chain([Said::NotAsked]) {
            for stands_in in asked().map(Some).chain([None]) {
                let mut tally = Tally::new(1, std::iter::once(primary));
                if said != Said::NotAsked {
                    tally.ask(primary);
                }
                said.tell(&mut tally, primary);
                if let Some(stands_in) = &stands_in {
                    tally.stand_in(other, primary);
                    stands_in.tell(&mut tally, other);
                }
                for (away, other_away) in [(false, false), (false, true), (true, false), (true, true)] {
                    let is_away = |node: NodeId| if node == primary { away } else { other_away };
                    let stood_in = stands_in.as_ref().is_some_and(|stands_in| stands_in.is_hopeful(other_away));
                    assert_eq!(tally.hopeful(is_away), usize::from(said.is_hopeful(away) || stood_in));
                    let forsaken = if said.is_given_up(away) && !stood_in { vec![primary] } else { Vec::new() };
                    assert_eq!(tally.forsaken(is_away), forsaken);
                }
                assert_eq!(tally.waits_for(primary), said == Said::Silent);
                assert_eq!(tally.waits_for(other), stands_in == Some(Said::Silent));
                assert!(!tally.waits_for(node(5)));
            }
        }
    }

    #[test]
    fn one_that_has_answered_is_not_lost_with_its_connection() {
        let mut tally = tally(1);
        tally.record(node(1), ReplicaAnswer::Done);
        tally.lose(node(1));
        assert_eq!((tally.answers()[0].1.clone(), tally.verdict()), (ReplicaAnswer::Done, Verdict::Won));
    }

    #[test]
    fn duplicate_answers_count_once() {
        let mut tally = tally(2);
        assert!(tally.record(node(1), ReplicaAnswer::Done));
        assert!(!tally.record(node(1), ReplicaAnswer::Done));
        assert_eq!((tally.reached(), tally.verdict()), (1, Verdict::Pending));
    }

    #[test]
    fn strangers_do_not_count() {
        let mut tally = tally(1);
        assert!(!tally.record(node(4), ReplicaAnswer::Done));
        assert_eq!(tally.verdict(), Verdict::Pending);
    }

    #[test]
    fn lost_as_soon_as_enough_is_impossible() {
        let mut tally = tally(2);
        tally.record(node(1), ReplicaAnswer::Overloaded);
        assert_eq!(tally.verdict(), Verdict::Pending);
        tally.record(node(3), ReplicaAnswer::Unreachable);
        assert_eq!(tally.verdict(), Verdict::Lost);
    }

    #[test]
    fn a_lost_connection_ends_the_waiting_but_not_the_doubt() {
        let mut tally = tally(2);
        tally.ask(node(1));
        tally.ask(node(2));
        tally.lose(node(1));
        tally.lose(node(2));
        assert_eq!(tally.verdict(), Verdict::Lost);
        assert_eq!(tally.answers()[0].1, ReplicaAnswer::Silent);
        assert!(tally.record(node(1), ReplicaAnswer::Done), "an answer that was already on its way still counts");
    }

    #[test]
    fn replicas_catching_up_count_only_when_all_have_answered() {
        let mut tally = tally(2);
        tally.record(node(1), ReplicaAnswer::CatchingUp);
        tally.record(node(2), ReplicaAnswer::Done);
        assert_eq!(tally.verdict(), Verdict::Pending);
        let mut lost = tally.clone();
        lost.record(node(3), ReplicaAnswer::Unreachable);
        assert_eq!(lost.verdict(), Verdict::Lost);
        tally.record(node(3), ReplicaAnswer::CatchingUp);
        assert_eq!(tally.verdict(), Verdict::Won);
    }

    #[test]
    fn verdict_agrees_with_a_count_over_every_combination() {
        use ReplicaAnswer::{CatchingUp, Done, NotAsked, Silent, Unreachable};
        let kinds = [Done, CatchingUp, Unreachable, Silent, NotAsked];
        for code in 0..125_usize {
            let said: Vec<_> = (0..3_u32).map(|index| kinds[code / 5_usize.pow(index) % 5].clone()).collect();
            for needed in 1..=3 {
                let mut tally = tally(needed);
                for (index, answer) in said.iter().enumerate() {
                    if *answer != NotAsked {
                        tally.ask(node(index as u32 + 1));
                        tally.record(node(index as u32 + 1), answer.clone());
                    }
                }
                assert_eq!(tally.verdict(), expected(needed, &said), "{needed} of {said:?}");
            }
        }
    }

    /// Tries every way the open answers may still turn out.
    fn expected(needed: u8, said: &[ReplicaAnswer]) -> Verdict {
        let won = |said: &[ReplicaAnswer]| {
            let done = said.iter().filter(|answer| **answer == ReplicaAnswer::Done).count();
            let failed = said.iter().any(|answer| !matches!(answer, ReplicaAnswer::Done | ReplicaAnswer::CatchingUp));
            usize::from(needed) <= done || !failed
        };
        if won(said) {
            return Verdict::Won;
        }
        let open = |answer: &ReplicaAnswer| matches!(answer, ReplicaAnswer::Silent | ReplicaAnswer::NotAsked);
        let best: Vec<_> =
            said.iter().map(|answer| if open(answer) { ReplicaAnswer::Done } else { answer.clone() }).collect();
        if won(&best) { Verdict::Pending } else { Verdict::Lost }
    }
}
