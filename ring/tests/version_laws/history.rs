//! Random histories of a few replicas, run twice at once: with the production types, and with a model that knows for every
//! event the *set* of events it causally covers, and for every replica the *set* of events it was told of. After every step the
//! filled siblings of a replica must be exactly the maximal puts of its set.
//!
//! The replicas follow the rules of the module's documentation, or ([`Rules::BROKEN`]) all of them but one.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;
use quorate_ring::NodeId;
use quorate_ring::version::{Actor, Container, Dot, Incarnation, NodeClock, VersionVector};

const REPLICAS: usize = 4;
const KEYS: usize = 2;

/// Which rules the replicas follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// Those of the design.
    Sound,
    /// Fills by the highest dot received of each actor, not by the contiguous base.
    FillByHighest,
    /// Strips what the clock has as a single dot, not what its base covers.
    StripByMembership,
    /// Takes the received dots into the clock before the stored container is filled.
    FillAfterAdding,
    /// Takes everything that a received container's vector covers into the clock, not only its event and its values.
    AddVectors,
    /// Joins a peer's clock though not all that it vouches for was applied.
    JoinClockEarly,
    /// Forgets what a write's context made obsolete, and only drops the values.
    ForgetContext,
}

impl Rules {
    pub(crate) const BROKEN: [Self; 6] = [
        Self::FillByHighest,
        Self::StripByMembership,
        Self::FillAfterAdding,
        Self::AddVectors,
        Self::JoinClockEarly,
        Self::ForgetContext,
    ];
}

/// One step of a history. An [`Index`] picks among what there is by then; a step that finds nothing to pick does nothing.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A put, or a delete, without a context or with that of an earlier read of any age.
    Write { replica: usize, key: usize, context: Option<Index>, kind: Kind },
    /// Merges what some replicas hold; may send the result to all as a repair.
    Read { replicas: [bool; REPLICAS], key: usize },
    /// Delivers any message ever sent, again or for the first time, to any replica. What is never picked is lost.
    Deliver { message: Index, target: usize },
    /// Anti-entropy: sends what the target's clock lacks, up to a number of events; if that was all, joins the clocks.
    Exchange { source: usize, target: usize, events_max: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Put,
    Delete,
}

pub(crate) fn histories() -> impl Strategy<Value = Vec<Step>> {
    let (replica, key) = (0..REPLICAS, 0..KEYS);
    let kind = prop_oneof![3 => Just(Kind::Put), 1 => Just(Kind::Delete)];
    let context = proptest::option::weighted(0.7, any::<Index>());
    let write = (replica.clone(), key.clone(), context, kind).prop_map(|(replica, key, context, kind)| Step::Write {
        replica,
        key,
        context,
        kind,
    });
    let read = (any::<[bool; REPLICAS]>(), key).prop_map(|(replicas, key)| Step::Read { replicas, key });
    let deliver = (any::<Index>(), replica.clone()).prop_map(|(message, target)| Step::Deliver { message, target });
    let exchange = (replica.clone(), replica, 0..8_usize).prop_map(|(source, target, events_max)| Step::Exchange {
        source,
        target,
        events_max,
    });
    proptest::collection::vec(prop_oneof![4 => write, 3 => read, 6 => deliver, 1 => exchange], 1..48)
}

/// How often what the histories are about took place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Happened {
    siblings: u64,
    gaps: u64,
    duplicates: u64,
    obsolete_deliveries: u64,
    contexts_ahead: u64,
    lacking_events: u64,
    vectors_stored: u64,
    keys_vanished: u64,
}

impl Happened {
    pub(crate) fn add(&mut self, other: &Self) {
        self.siblings += other.siblings;
        self.gaps += other.gaps;
        self.duplicates += other.duplicates;
        self.obsolete_deliveries += other.obsolete_deliveries;
        self.contexts_ahead += other.contexts_ahead;
        self.lacking_events += other.lacking_events;
        self.vectors_stored += other.vectors_stored;
        self.keys_vanished += other.keys_vanished;
    }

    pub(crate) fn assert_each_is_common(&self, cases: u32) {
        let all = [self.siblings, self.gaps, self.duplicates, self.obsolete_deliveries, self.contexts_ahead]
            .into_iter()
            .chain([self.lacking_events, self.vectors_stored, self.keys_vanished]);
        let wanted = u64::from(cases) / 50;
        all.for_each(|times| assert!(wanted <= times, "too little took place: {self:?}"));
    }
}

/// What the model knows of an event; its number is its place in [`History::events`] and its value.
struct Event {
    key: usize,
    dot: Dot,
    kind: Kind,
    covers: BTreeSet<usize>,
}

#[derive(Clone)]
struct Message {
    key: usize,
    /// The event it tells of; none in a repair.
    dot: Option<Dot>,
    container: Container<usize>,
    told: BTreeSet<usize>,
}

#[derive(Clone, Default)]
struct Replica {
    clock: NodeClock,
    stored: BTreeMap<usize, Container<usize>>,
    told: [BTreeSet<usize>; KEYS],
}

pub(crate) struct History {
    rules: Rules,
    events: Vec<Event>,
    replicas: Vec<Replica>,
    messages: Vec<Message>,
    reads: Vec<(usize, VersionVector, BTreeSet<usize>)>,
    happened: Happened,
}

impl History {
    /// Runs a history to its end and beyond, until all is delivered.
    pub(crate) fn run(rules: Rules, steps: &[Step]) -> Result<Happened, String> {
        let replicas = vec![Replica::default(); REPLICAS];
        let mut history =
            Self { rules, events: vec![], replicas, messages: vec![], reads: vec![], happened: Happened::default() };
        for step in steps {
            history.step(step)?;
        }
        history.converge()?;
        Ok(history.happened)
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Write { replica, key, context, kind } => self.write(*replica, *key, context.as_ref(), *kind),
            Step::Read { replicas, key } => self.read(replicas, *key),
            Step::Deliver { message, target } if !self.messages.is_empty() => {
                let message = message.get(&self.messages).clone();
                self.apply(*target, message)
            }
            Step::Deliver { .. } => Ok(()),
            Step::Exchange { source, target, events_max } => self.exchange(*source, *target, *events_max),
        }
    }

    fn write(&mut self, at: usize, key: usize, context: Option<&Index>, kind: Kind) -> Result<(), String> {
        let reads: Vec<_> = self.reads.iter().filter(|read| read.0 == key).collect();
        let (vector, covers) = match context {
            Some(index) if !reads.is_empty() => (index.get(&reads).1.clone(), index.get(&reads).2.clone()),
            _ => Default::default(),
        };
        let event = self.events.len();
        let mut container = self.filled(at, key);
        self.happened.contexts_ahead += u64::from(!container.vector().dominates(&vector));
        match self.rules {
            Rules::ForgetContext => container = without(container, &vector),
            _ => container.discard(&vector),
        }
        let replica = &mut self.replicas[at];
        let dot = replica.clock.issue(actor(at));
        match kind {
            Kind::Put => container.add(dot, event),
            Kind::Delete => container.record(dot),
        }
        replica.told[key].extend(covers.iter().copied().chain([event]));
        let told = replica.told[key].clone();
        self.messages.push(Message { key, dot: Some(dot), container: container.clone(), told });
        self.events.push(Event { key, dot, kind, covers });
        self.store(at, key, container);
        self.check(at)
    }

    fn read(&mut self, replicas: &[bool; REPLICAS], key: usize) -> Result<(), String> {
        let mut merged = Container::empty();
        let mut told = BTreeSet::new();
        for at in (0..REPLICAS).filter(|&at| replicas[at]) {
            merged.sync(self.filled(at, key));
            told.extend(&self.replicas[at].told[key]);
        }
        self.compare("a merged read", &merged, key, &told)?;
        self.reads.push((key, merged.vector().clone(), told.clone()));
        self.messages.push(Message { key, dot: None, container: merged, told });
        Ok(())
    }

    fn exchange(&mut self, source: usize, target: usize, events_max: usize) -> Result<(), String> {
        let peer = self.replicas[source].clock.clone();
        let missing: Vec<Dot> = peer.missing_from(&self.replicas[target].clock).collect();
        for &dot in missing.iter().take(events_max) {
            let key = self.events.iter().find(|event| event.dot == dot).expect("an issued dot is an event's").key;
            let told = self.replicas[source].told[key].clone();
            self.apply(target, Message { key, dot: Some(dot), container: self.filled(source, key), told })?;
        }
        if missing.len() <= events_max || self.rules == Rules::JoinClockEarly {
            self.replicas[target].clock.join(&peer);
        }
        self.check(target)
    }

    /// What a replica does with a container it is sent. The order matters: see [`Rules::FillAfterAdding`].
    fn apply(&mut self, at: usize, message: Message) -> Result<(), String> {
        let Message { key, dot, container: received, told } = message;
        let mut seen: BTreeSet<Dot> = received.dots().chain(dot).collect();
        if self.rules == Rules::AddVectors {
            let covered = received.vector().iter();
            seen.extend(
                covered.flat_map(|(actor, counter)| (1..=counter).map(move |counter| Dot::new(actor, counter))),
            );
        }
        self.happened.duplicates += u64::from(dot.is_some_and(|dot| self.replicas[at].clock.contains(&dot)));
        let before = self.filled(at, key);
        if self.rules == Rules::FillAfterAdding {
            seen.iter().for_each(|&dot| _ = self.replicas[at].clock.add(dot));
        }
        let mut container = self.filled(at, key);
        self.happened.obsolete_deliveries += u64::from(received.dots().any(|dot| is_obsolete(&before, &dot)));
        container.sync(received);
        seen.iter().for_each(|&dot| _ = self.replicas[at].clock.add(dot));
        self.replicas[at].told[key].extend(told);
        self.store(at, key, container);
        self.check(at)
    }

    fn filled(&self, at: usize, key: usize) -> Container<usize> {
        let Replica { clock, stored, .. } = &self.replicas[at];
        let mut container = stored.get(&key).cloned().unwrap_or_default();
        container.fill(clock.base());
        if self.rules == Rules::FillByHighest {
            clock.beyond().for_each(|dot| container.record(dot));
        }
        container
    }

    fn store(&mut self, at: usize, key: usize, mut container: Container<usize>) {
        let Replica { clock, stored, .. } = &mut self.replicas[at];
        container.strip(clock.base());
        if self.rules == Rules::StripByMembership {
            let tops = container.vector().iter().map(|(actor, counter)| Dot::new(actor, counter));
            let contained: VersionVector = tops.filter(|dot| clock.contains(dot)).collect();
            container.strip(&contained);
        }
        self.happened.vectors_stored += u64::from(!container.vector().is_empty());
        // As on disk: what is empty is not there.
        if container.is_empty() {
            stored.remove(&key)
        } else {
            stored.insert(key, container)
        };
    }

    /// Compares a replica with the model, all keys of it: a clock that grows for one key fills the others too.
    fn check(&mut self, at: usize) -> Result<(), String> {
        let mut told_all = BTreeSet::new();
        for key in 0..KEYS {
            let filled = self.filled(at, key);
            self.happened.siblings += u64::from(1 < filled.siblings());
            self.compare(&format!("replica {at}"), &filled, key, &self.replicas[at].told[key])?;
            told_all.extend(&self.replicas[at].told[key]);
        }
        let clock = &self.replicas[at].clock;
        self.happened.gaps += u64::from(clock.has_gaps());
        self.happened.lacking_events +=
            u64::from(told_all.iter().any(|&event: &usize| !clock.contains(&self.events[event].dot)));
        Ok(())
    }

    fn compare(&self, who: &str, filled: &Container<usize>, key: usize, told: &BTreeSet<usize>) -> Result<(), String> {
        let siblings: BTreeSet<usize> = filled.values().map(|(_, &value)| value).collect();
        let maximal = self.maximal(told);
        if siblings != maximal {
            return Err(format!("{who} has the siblings {siblings:?} of key {key}; the model has {maximal:?}"));
        }
        // Stronger than what a user sees, and so not asked of broken rules: the vector means exactly what was told.
        let covered =
            |event: &usize| self.events[*event].key == key && filled.vector().covers(&self.events[*event].dot);
        let covered: BTreeSet<usize> = (0..self.events.len()).filter(covered).collect();
        if self.rules == Rules::Sound && covered != *told {
            return Err(format!("{who} knows the events {covered:?} of key {key}; the model knows {told:?}"));
        }
        Ok(())
    }

    /// The puts among these events that none of these events covers.
    fn maximal(&self, told: &BTreeSet<usize>) -> BTreeSet<usize> {
        let covered: BTreeSet<usize> =
            told.iter().flat_map(|&event| self.events[event].covers.iter().copied()).collect();
        told.difference(&covered).copied().filter(|&event| self.events[event].kind == Kind::Put).collect()
    }

    /// Exchanges everything between all pairs, and asks for agreement, no vectors, and nothing left of deleted keys.
    fn converge(&mut self) -> Result<(), String> {
        let pairs = (0..REPLICAS).flat_map(|source| (0..REPLICAS).map(move |target| (source, target)));
        for (source, target) in pairs.clone().chain(pairs) {
            self.exchange(source, target, usize::MAX)?;
        }
        for key in 0..KEYS {
            let all: BTreeSet<usize> = (0..self.events.len()).filter(|&event| self.events[event].key == key).collect();
            let maximal = self.maximal(&all);
            for at in 0..REPLICAS {
                let filled = self.filled(at, key);
                self.compare("a converged replica", &filled, key, &all)?;
                self.store(at, key, filled);
                if self.replicas[at].clock.has_gaps()
                    || self.replicas[at].stored.get(&key) != self.replicas[0].stored.get(&key)
                {
                    return Err(format!("replicas 0 and {at} did not converge on key {key}"));
                }
                let stored = self.replicas[at].stored.get(&key);
                if stored.is_some_and(|stored| maximal.is_empty() || !stored.vector().is_empty()) {
                    return Err(format!("replica {at} still stores what its clock says of key {key}: {stored:?}"));
                }
            }
            self.happened.keys_vanished += u64::from(maximal.is_empty() && !all.is_empty());
        }
        Ok(())
    }
}

fn actor(at: usize) -> Actor {
    let number = u32::try_from(at + 1).expect("few replicas");
    Actor::new(NodeId::new(number).expect("not 0"), Incarnation::new(7))
}

fn is_obsolete(filled: &Container<usize>, dot: &Dot) -> bool {
    filled.vector().covers(dot) && filled.dots().all(|kept| kept != *dot)
}

/// The container without the values that the context covers, and with its vector as it was.
fn without(container: Container<usize>, context: &VersionVector) -> Container<usize> {
    let mut kept = Container::empty();
    kept.fill(container.vector());
    for (dot, value) in container.into_values().filter(|(dot, _)| !context.covers(dot)) {
        kept.add(dot, value);
    }
    kept
}
