//! The law behind mending a key that cannot be read: what other replicas hold may take the place of the lost copy when they have received
//! every event that this replica had, or when nobody has the rest. Against a deliberately dumb model: every event knows which others it
//! replaces, and every copy of it is looked for wherever it may be.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use quorate_node::Time;
use quorate_node::limits::MEND_GIVE_UP;
use quorate_node::scrub::mend::{Mend, Next, Whom};
use quorate_ring::version::{Actor, Container, Dot, Incarnation, NodeClock, VersionVector};
use quorate_ring::wire::{ExchangeId, HeldObject};
use quorate_ring::{NodeId, StoredValue, Value};

const REPLICAS: usize = 3;

/// One replica of one key, in a partition that has other keys too.
#[derive(Clone, Default)]
struct Replica {
    clock: NodeClock,
    /// Stripped; nothing if it cannot be read.
    stored: Option<Container<StoredValue>>,
    /// The clock when it was found to be unreadable.
    lost: NodeClock,
}

impl Replica {
    fn filled(&self) -> Option<Container<StoredValue>> {
        let mut container = self.stored.clone()?;
        container.fill(self.clock.base());
        Some(container)
    }

    fn store(&mut self, mut filled: Container<StoredValue>) {
        filled.dots().for_each(|dot| _ = self.clock.add(dot));
        filled.strip(self.clock.base());
        self.stored = Some(filled);
    }
}

/// What is on its way to a replica, as a message or a hint: an event of the key with its container, or one of another key.
#[derive(Clone)]
struct Sent {
    to: usize,
    dot: Dot,
    container: Option<Container<StoredValue>>,
}

#[derive(Default)]
struct World {
    replicas: Vec<Replica>,
    sent: Vec<Sent>,
    /// What each event of the key replaces.
    replaces: BTreeMap<Dot, BTreeSet<Dot>>,
    /// Those that add no value.
    deletes: BTreeSet<Dot>,
    /// Events that were on a disk alone when it lost them.
    gone: BTreeSet<Dot>,
}

fn node(index: usize) -> NodeId {
    NodeId::new(u32::try_from(index).expect("few") + 1).expect("not 0")
}

impl World {
    fn new() -> Self {
        let replica = Replica { stored: Some(Container::empty()), ..Replica::default() };
        Self { replicas: vec![replica; REPLICAS], ..Self::default() }
    }

    fn issue(&mut self, at: usize) -> Dot {
        self.replicas[at].clock.issue(Actor::new(node(at), Incarnation::new(1)))
    }

    fn send(&mut self, from: usize, dot: Dot, container: Option<&Container<StoredValue>>) {
        let to = (0..REPLICAS).filter(|to| *to != from);
        self.sent.extend(to.map(|to| Sent { to, dot, container: container.cloned() }));
    }

    fn write(&mut self, at: usize, blind: bool, delete: bool) {
        let Some(mut container) = self.replicas[at].filled() else { return };
        let seen = if blind { VersionVector::new() } else { container.vector().clone() };
        let replaced = container.dots().filter(|dot| seen.covers(dot)).collect();
        container.discard(&seen);
        let dot = self.issue(at);
        match delete {
            true => {
                self.deletes.insert(dot);
                container.record(dot);
            }
            false => container.add(dot, Value::new("v").expect("small").into()),
        }
        self.replaces.insert(dot, replaced);
        self.send(at, dot, Some(&container));
        self.replicas[at].store(container);
    }

    /// A write of another key.
    fn write_elsewhere(&mut self, at: usize) {
        let dot = self.issue(at);
        self.send(at, dot, None);
    }

    fn deliver(&mut self, index: usize) {
        let Sent { to, dot, container } = self.sent[index].clone();
        let replica = &mut self.replicas[to];
        if let Some(theirs) = container {
            // What cannot be read takes nothing: it is sent again later.
            let Some(mut own) = replica.filled() else { return };
            own.sync(theirs);
            replica.clock.add(dot);
            replica.store(own);
        } else {
            replica.clock.add(dot);
        }
        self.sent.remove(index);
    }

    fn rot(&mut self, at: usize) {
        if self.replicas.iter().all(|replica| replica.stored.is_some()) {
            self.replicas[at].stored = None;
            self.replicas[at].lost = self.replicas[at].clock.clone();
            self.note_gone();
        }
    }

    /// Events that no copy has any more, be it as a value or as known to be obsolete.
    fn note_gone(&mut self) {
        let copies = self.replicas.iter().filter_map(Replica::filled);
        let copies: Vec<_> = copies.chain(self.sent.iter().filter_map(|sent| sent.container.clone())).collect();
        let known =
            |dot: &Dot| copies.iter().any(|copy| copy.dots().any(|own| own == *dot) || copy.vector().covers(dot));
        self.gone.extend(self.replaces.keys().filter(|dot| !known(dot)));
    }

    /// One attempt to mend, asking in this order, by the production machine.
    fn mend(&mut self, at: usize, turn: usize, late: bool) {
        if self.replicas[at].stored.is_some() {
            return;
        }
        let now = if late { Time::default() + MEND_GIVE_UP } else { Time::default() };
        let mut mend = Mend::new(Time::default());
        let mut others: Vec<usize> = (0..REPLICAS).filter(|other| *other != at).collect();
        others.rotate_left(turn % 2);
        let ids = |nodes: &[usize]| -> Vec<(ExchangeId, NodeId)> {
            nodes.iter().map(|index| (ExchangeId(*index as u64), node(*index))).collect()
        };
        let keeper = (ExchangeId(9), node(9));
        mend.handle_asked(Whom::Replicas, ids(&others).into_iter().collect(), 0, now);
        let mut answers = self.answers(&others);
        loop {
            let Some((index, held)) = answers.pop() else { return };
            let from = if index == 9 { (keeper.1, keeper.0) } else { (node(index), ExchangeId(index as u64)) };
            match mend.handle_held(now, from, Ok(held), &self.replicas[at].lost) {
                Next::Wait => {}
                Next::Ask(Whom::Others) => {
                    mend.handle_asked(Whom::Others, [keeper].into_iter().collect(), 0, now);
                    answers = vec![(9, self.hints())];
                }
                Next::Ask(whom) => {
                    mend.handle_asked(whom, ids(&others).into_iter().collect(), 0, now);
                    answers = self.answers(&others);
                }
                Next::Store | Next::StoreRest => {
                    let (container, _) = mend.handle_storing(ExchangeId(99));
                    return self.replicas[at].store(container);
                }
            }
        }
    }

    fn answers(&self, others: &[usize]) -> Vec<(usize, HeldObject)> {
        let held = |index: &usize| {
            let replica = &self.replicas[*index];
            let container = replica.filled().expect("one is unreadable at a time");
            (*index, HeldObject { container, clock: replica.clock.clone() })
        };
        others.iter().map(held).collect()
    }

    /// Whatever is on its way is kept by somebody as a hint.
    fn hints(&self) -> HeldObject {
        let mut container = Container::empty();
        self.sent.iter().filter_map(|sent| sent.container.clone()).for_each(|sent| container.sync(sent));
        HeldObject { container, clock: NodeClock::new() }
    }

    /// Everything arrives, what cannot be read is mended, and all replicas exchange all they have.
    fn settle(&mut self) {
        for at in 0..REPLICAS {
            self.mend(at, 0, false);
        }
        (0..self.sent.len()).rev().for_each(|index| self.deliver(index));
        for at in 0..REPLICAS {
            self.mend(at, 0, true);
        }
        (0..self.sent.len()).rev().for_each(|index| self.deliver(index));
        assert!(self.sent.is_empty(), "all can be read again");
        for _ in 0..2 {
            for (one, other) in [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)] {
                let (theirs, clock) = (self.replicas[other].filled(), self.replicas[other].clock.clone());
                let mut own = self.replicas[one].filled().expect("it was mended");
                own.sync(theirs.expect("it was mended"));
                self.replicas[one].clock.join(&clock);
                self.replicas[one].store(own);
            }
        }
    }

    /// What must be left: the values that no event replaces, neither having been on the lost disk alone.
    fn check(&self) {
        let first = &self.replicas[0];
        assert!(self.replicas.iter().all(|replica| replica.stored == first.stored && replica.clock == first.clock));
        let left: BTreeSet<Dot> = first.stored.iter().flat_map(|stored| stored.dots().collect::<Vec<_>>()).collect();
        for dot in self.replaces.keys().filter(|dot| !self.gone.contains(dot)) {
            let mut later = self.replaces.iter().filter(|(_, replaced)| replaced.contains(dot));
            let replaced_by_gone = later.clone().any(|(other, _)| self.gone.contains(other));
            let replaced = later.any(|(other, _)| !self.gone.contains(other));
            assert!(!(left.contains(dot) && replaced), "{dot:?} was replaced and came back");
            let is_delete = self.deletes.contains(dot);
            assert!(left.contains(dot) || replaced || replaced_by_gone || is_delete, "{dot:?} was lost");
        }
    }
}

/// What happens next: what, where, and which of several.
fn happen(world: &mut World, (what, at, which): (u8, usize, usize)) {
    match what {
        0..=2 => world.write(at, which.is_multiple_of(3), which % 4 == 1),
        3 => world.write_elsewhere(at),
        4..=6 if !world.sent.is_empty() => world.deliver(which % world.sent.len()),
        7 if !world.sent.is_empty() => {
            // The network loses it, and with it perhaps the last copy but one.
            world.sent.remove(which % world.sent.len());
        }
        8 => world.rot(at),
        9 => world.mend(at, which, which.is_multiple_of(5)),
        _ => {}
    }
    world.note_gone();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn nothing_is_lost_by_mending_but_what_was_on_the_lost_disk_alone(
        steps in proptest::collection::vec((0..10_u8, 0..REPLICAS, 0..60_usize), 0..60),
    ) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| happen(&mut world, step));
        world.settle();
        world.check();
    }
}
