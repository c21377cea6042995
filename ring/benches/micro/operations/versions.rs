//! Containers and clocks: what each replica does for each event.

use std::hint::black_box;

use quorate_ring::StoredValue;
use quorate_ring::version::{Container, Dot, NodeClock, VersionVector};

use super::{actor, stored};
use crate::harness::Operation;

/// How far the clock of a partition has come of each of its three actors.
const EVENTS: u64 = 1_000;
const VALUE_BYTES: usize = 100;

pub(super) fn operations() -> Vec<Operation> {
    [1, 3].into_iter().flat_map(containers).chain(clocks()).collect()
}

/// The clock of a replica that has received all of its three actors' events.
fn clock() -> NodeClock {
    let mut clock = NodeClock::new();
    (1..=3).for_each(|node| (1..=EVENTS).for_each(|counter| _ = clock.add(Dot::new(actor(node), counter))));
    clock
}

/// What a read of a key has seen: all that the clock has.
pub(super) fn seen() -> VersionVector {
    clock().base().clone()
}

/// A container as it is stored: so many values of different actors, and nothing that the clock does not say.
fn container(siblings: u32) -> Container<StoredValue> {
    let mut container = Container::empty();
    (1..=siblings).for_each(|node| container.add(Dot::new(actor(node), EVENTS), stored(VALUE_BYTES)));
    container.strip(&seen());
    container
}

/// The container as it is sent.
fn filled(siblings: u32) -> Container<StoredValue> {
    let mut container = container(siblings);
    container.fill(&seen());
    container
}

fn containers(siblings: u32) -> [Operation; 4] {
    let name = |what: &str| match siblings {
        1 => format!("container of 1 value: {what}"),
        _ => format!("container of {siblings} siblings: {what}"),
    };
    let (base, whole, mut stripped) = (seen(), container(siblings), container(siblings));
    let (before, value, context, mut of_writer) = (container(siblings), stored(VALUE_BYTES), seen(), clock());
    let (mine, theirs) = (filled(siblings), filled(siblings));
    [
        Operation::new(name("clone"), move || black_box(&whole).clone()),
        Operation::new(name("fill and strip"), move || {
            stripped.fill(black_box(&base));
            stripped.strip(black_box(&base));
        }),
        Operation::new(name("clone, and put that replaces them"), move || {
            let mut container = before.clone();
            container.fill(of_writer.base());
            container.discard(black_box(&context));
            container.add(of_writer.issue(actor(1)), value.clone());
            container.strip(of_writer.base());
            container
        }),
        Operation::new(name("2 clones, and merge"), move || {
            let mut container = mine.clone();
            container.sync(black_box(&theirs).clone());
            container
        }),
    ]
}

fn clocks() -> [Operation; 5] {
    let (mut issuing, mut in_order, mut out_of_order, mut joined) = (clock(), clock(), clock(), clock());
    let (mut next, mut next_but_one) = (EVENTS, EVENTS);
    let (peers, mine, mut ahead) = (clock(), clock(), clock());
    (1..=2).for_each(|further| _ = ahead.add(Dot::new(actor(2), EVENTS + further)));
    [
        Operation::new("clock: issue a dot", move || issuing.issue(actor(1))),
        Operation::new("clock: add an event in order", move || {
            next += 1;
            in_order.add(Dot::new(actor(2), next))
        }),
        Operation::new("clock: add two events, the later first", move || {
            next_but_one += 2;
            out_of_order.add(Dot::new(actor(2), next_but_one));
            out_of_order.add(Dot::new(actor(2), next_but_one - 1))
        }),
        Operation::new("clock: join a peer's, 3 actors", move || joined.join(black_box(&peers))),
        Operation::new("clock: find the two events that a peer lacks", move || {
            ahead.missing_from(black_box(&mine)).take(2).count()
        }),
    ]
}
