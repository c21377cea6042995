//! What follows from the failure detector's verdicts: whom requests go to first, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_node::Input;
use quorate_node::membership::Standing;
use quorate_ring::NodeId;
use quorate_ring::layout::{Layout, Role};
use quorate_ring::wire::{PeerMessage, Request, Response};
use quorate_ring::{Capacity, PartitionCount};

use crate::four;
use crate::harness::{Cluster, node, put};

/// A node is told what is thought of another.
fn tell(cluster: &mut Cluster, at: NodeId, other: NodeId, standing: Standing) {
    cluster.input(at, Input::Standings(Arc::new(BTreeMap::from([(other, standing)]))));
}

/// A put that lets others stand in, and wants all places filled.
fn sloppy(key: &quorate_ring::ObjectKey, value: &str) -> Request {
    let mut request = put(key, value, None);
    if let Request::Put { w, strict, .. } = &mut request {
        (*w, *strict) = (Some(3), false);
    }
    request
}

fn hints(cluster: &Cluster, at: NodeId) -> usize {
    cluster.machines[&at].shard.hints().filter(|kept| 0 < kept.count).count()
}

#[test]
fn a_primary_that_is_down_gets_a_hint_at_once_though_its_connection_is_up() {
    let (mut cluster, key, primaries, other) = four();
    cluster.silent.insert(primaries[2]);
    tell(&mut cluster, primaries[0], primaries[2], Standing::Down);
    cluster.ask(primaries[0], sloppy(&key, "one")).expect("another stood in, without the passing of time");
    assert_eq!(hints(&cluster, other), 1);
}

#[test]
fn a_write_that_waits_for_a_primary_goes_on_when_that_is_found_to_be_down() {
    let (mut cluster, key, primaries, other) = four();
    cluster.silent.insert(primaries[2]);
    let id = cluster.begin(primaries[0], sloppy(&key, "one"));
    cluster.settle();
    assert_eq!(cluster.answer(id), None, "the third may answer");
    tell(&mut cluster, primaries[0], primaries[2], Standing::Suspected);
    cluster.settle();
    assert_eq!(cluster.answer(id), None, "to be suspected is not to be away");
    tell(&mut cluster, primaries[0], primaries[2], Standing::Down);
    cluster.settle();
    assert!(cluster.answer(id).is_some_and(|answer| answer.is_ok()));
    assert_eq!(hints(&cluster, other), 1);
}

#[test]
fn a_read_asks_those_that_are_suspected_or_down_after_all_others() {
    for standing in [Standing::Suspected, Standing::Down] {
        for doubted in 1..3 {
            let (mut cluster, key, primaries, _) = four();
            tell(&mut cluster, primaries[0], primaries[doubted], standing);
            cluster.begin(primaries[0], Request::Get { key, r: Some(2), strict: true });
            let asked = cluster.sent.iter().filter(|sent| matches!(sent.message, PeerMessage::Read { .. }));
            let asked: Vec<NodeId> = asked.map(|sent| sent.to).collect();
            assert_eq!(asked, [primaries[3 - doubted]], "{standing:?}");
        }
    }
}

#[test]
fn a_read_that_needs_one_that_is_down_asks_it() {
    let (mut cluster, key, primaries, _) = four();
    tell(&mut cluster, primaries[0], primaries[1], Standing::Down);
    tell(&mut cluster, primaries[0], primaries[2], Standing::Suspected);
    assert!(matches!(
        cluster.ask(primaries[0], Request::Get { key, r: Some(3), strict: true }),
        Ok(Response::Found { .. })
    ));
}

#[test]
fn who_is_heard_is_not_away_whatever_others_say() {
    let (mut cluster, key, primaries, other) = four();
    tell(&mut cluster, primaries[0], primaries[2], Standing::Down);
    cluster.tell(primaries[2], primaries[0], PeerMessage::Known { incarnations: vec![] });
    cluster.ask(primaries[0], sloppy(&key, "one")).expect("all three have it");
    assert_eq!((hints(&cluster, other), cluster.stored(primaries[2], &key)), (0, 1));
    // The same verdict, told again with others, is no news.
    tell(&mut cluster, primaries[0], primaries[2], Standing::Down);
    cluster.ask(primaries[0], sloppy(&key, "two")).expect("all three have it");
    assert_eq!(hints(&cluster, other), 0);
}

#[test]
fn only_a_shard_that_keeps_the_layout_runs_a_detector() {
    let (cluster, _, primaries, _) = four();
    assert!(cluster.machines[&primaries[0]].shard.detector().is_none());
    let role = |number: u32| Role { address: format!("{number}:1"), zone: None, capacity: Capacity::default() };
    let roles = (1..=3).map(|number| (node(number), role(number))).collect();
    let layout = Layout::new(PartitionCount::new(8).expect("a power of two"), 3, roles).expect("a layout");
    let mut cluster = Cluster::with_layout(3, &layout);
    cluster.connect_all();
    assert!(cluster.machines.values().all(|machine| machine.shard.detector().is_some()));
}
