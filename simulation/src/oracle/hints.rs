//! O1, of hints: what is kept for a node leaves the disk only when that node has it on its own, and is not said to be delivered before;
//! and what a fallback makes in the place of the primaries it keeps for every primary that does not have it.
//!
//! Seen from outside the shards: in the batches they submit. What each store durably holds is known to [`super::dots`].

use std::collections::{BTreeMap, BTreeSet};

use quorate_ring::version::Dot;
use quorate_ring::wire::ExchangeId;
use quorate_ring::{NodeId, ObjectKey};

use super::{Oracle, Violation};

/// What a node keeps of a key for another: its events, each with the number that the next hint had when it was first kept.
type Events = Vec<(Dot, u64)>;
/// A hint that was handed over: its key, and its events.
pub type Handed = (ObjectKey, Vec<Dot>);

/// What all nodes keep for others.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    hints: BTreeMap<(NodeId, ObjectKey), BTreeMap<NodeId, Events>>,
    /// What was handed over: by whom, its number, to whom.
    handed: BTreeMap<(NodeId, ExchangeId, NodeId), Vec<Handed>>,
    /// Up to where a shard of a node has told that all is delivered to another.
    told: BTreeMap<(NodeId, usize, NodeId), u64>,
    /// What a node was told is on the disk of one who stays.
    settled: BTreeSet<(NodeId, ObjectKey, Dot)>,
}

impl Kept {
    /// A process starts on what its store holds.
    pub fn start(&mut self, keeper: NodeId, stored: impl Iterator<Item = (NodeId, ObjectKey, Vec<Dot>)>) {
        self.hints.retain(|(known, _), _| *known != keeper);
        self.told.retain(|(known, ..), _| *known != keeper);
        for (target, key, dots) in stored {
            let events = dots.into_iter().map(|dot| (dot, 0)).collect();
            self.hints.entry((keeper, key)).or_default().insert(target, events);
        }
    }

    /// A node keeps these events of a key for another from now on, and no others; `number` is that of its next hint. Gives those that it
    /// kept and does not any more, and those that are new.
    pub fn change(
        &mut self,
        keeper: NodeId,
        (target, key): (NodeId, &ObjectKey),
        dots: &[Dot],
        number: u64,
    ) -> (Vec<Dot>, Vec<Dot>) {
        let hints = self.hints.entry((keeper, key.clone())).or_default();
        let before = hints.remove(&target).unwrap_or_default();
        let since = |dot: &Dot| before.iter().find(|(known, _)| known == dot).map(|(_, since)| *since);
        let gone = before.iter().map(|(dot, _)| *dot).filter(|dot| !dots.contains(dot)).collect();
        let new = dots.iter().copied().filter(|dot| since(dot).is_none()).collect();
        if !dots.is_empty() {
            hints.insert(target, dots.iter().map(|dot| (*dot, since(dot).unwrap_or(number))).collect());
        }
        (gone, new)
    }

    /// The events that a node made of a key itself, with those of these nodes for which it does not keep them.
    pub fn not_kept(&self, keeper: NodeId, key: &ObjectKey, primaries: &[NodeId]) -> Vec<(NodeId, Dot)> {
        let Some(hints) = self.hints.get(&(keeper, key.clone())) else { return Vec::new() };
        let mut own: Vec<Dot> = hints.values().flatten().map(|(dot, _)| *dot).collect();
        own.retain(|dot| dot.actor.node == keeper);
        own.sort_unstable();
        own.dedup();
        let keeps = |target: &NodeId, dot: &Dot| {
            hints.get(target).is_some_and(|events| events.iter().any(|(known, _)| known == dot))
        };
        let pairs = own.iter().flat_map(|dot| primaries.iter().map(move |target| (*target, *dot)));
        pairs.filter(|(target, dot)| !keeps(target, dot)).collect()
    }

    /// A batch of hints is handed over.
    pub fn hand(&mut self, keeper: NodeId, exchange: ExchangeId, to: NodeId, hints: Vec<Handed>) {
        self.handed.insert((keeper, exchange, to), hints);
    }

    /// The hints of a batch.
    pub fn handed(&self, keeper: NodeId, exchange: ExchangeId, to: NodeId) -> &[Handed] {
        self.handed.get(&(keeper, exchange, to)).map_or(&[], Vec::as_slice)
    }

    /// A node hears that an event is where it stays.
    pub fn settle(&mut self, keeper: NodeId, key: &ObjectKey, dot: Dot) {
        self.settled.insert((keeper, key.clone(), dot));
    }

    /// Whether it has heard that.
    pub fn is_settled(&self, keeper: NodeId, key: &ObjectKey, dot: Dot) -> bool {
        self.settled.contains(&(keeper, key.clone(), dot))
    }

    /// A shard of a node tells that all hints for another with a smaller number than this are delivered. Gives the events that should be,
    /// if that is news; `is_of` says which keys are the shard's.
    pub fn tell(
        &mut self,
        (keeper, shard): (NodeId, usize),
        target: NodeId,
        outstanding_from: u64,
        is_of: impl Fn(&ObjectKey) -> bool,
    ) -> Vec<(ObjectKey, Dot)> {
        let told = self.told.entry((keeper, shard, target)).or_default();
        if outstanding_from <= std::mem::replace(told, outstanding_from) {
            return Vec::new();
        }
        let of_keeper = self.hints.iter().filter(|((known, key), _)| *known == keeper && is_of(key));
        let mut delivered = Vec::new();
        for ((_, key), hints) in of_keeper {
            let events = hints.get(&target).into_iter().flatten();
            let before = events.filter(|(_, number)| *number < outstanding_from);
            delivered.extend(before.map(|(dot, _)| (key.clone(), *dot)));
        }
        delivered
    }
}

/// Checks that a node durably has an event that was kept for it: `why` says what depends on it.
///
/// # Errors
/// If it has not.
pub fn check(
    keeper: NodeId,
    (target, key): (NodeId, &ObjectKey),
    dot: Dot,
    has_durably: bool,
    why: &str,
) -> Result<(), Violation> {
    match has_durably {
        true => Ok(()),
        false => {
            let what = format!("{target} does not have {dot:?} of {key:?} on its disk, but {keeper} {why}");
            Err(Violation::new(Oracle::Hints, what))
        }
    }
}
