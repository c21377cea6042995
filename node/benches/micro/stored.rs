//! What replicas keep in the store, encoded and decoded.

use std::hint::black_box;

use bytes::Bytes;
use quorate_node::replica::layout;
use quorate_ring::version::{Actor, Container, Dot, Incarnation, NodeClock};
use quorate_ring::{StoredValue, Value};

use crate::cluster::node;
use crate::harness::Operation;

const VALUE_BYTES: usize = 100;
/// How far the clock of a partition has come of each of its three actors.
const EVENTS: u64 = 1_000;

pub(super) fn operations() -> Vec<Operation> {
    [1, 3].into_iter().flat_map(containers).chain(clock()).collect()
}

fn dot(number: u32, counter: u64) -> Dot {
    Dot::new(Actor::new(node(number), Incarnation::new(0x5eed_0000_0000_0000 | u64::from(number))), counter)
}

fn containers(siblings: u32) -> [Operation; 2] {
    let mut container: Container<StoredValue> = Container::empty();
    let value = || Value::new(Bytes::from(vec![0xa5; VALUE_BYTES])).expect("small");
    (1..=siblings).for_each(|number| container.add(dot(number, EVENTS), value().into()));
    let base = container.vector().clone();
    container.strip(&base);
    let encoded = layout::encode_container(&container);
    let name = |what: &str| format!("{what} a stored container, {siblings} of {VALUE_BYTES} B");
    [
        Operation::new(name("encode"), move || layout::encode_container(black_box(&container))),
        Operation::new(name("decode"), move || layout::decode_container(black_box(&encoded)).expect("sound")),
    ]
}

fn clock() -> [Operation; 2] {
    let mut clock = NodeClock::new();
    (1..=3).for_each(|number| (1..=EVENTS).for_each(|counter| _ = clock.add(dot(number, counter))));
    let encoded = layout::encode(&clock);
    [
        Operation::new("encode a clock of 3 actors", move || layout::encode(black_box(&clock))),
        Operation::new("decode a clock of 3 actors", move || layout::decode_clock(black_box(&encoded)).expect("sound")),
    ]
}
