//! What the sweep says of itself.

use std::time::Duration;

use quorate_node::Time;
use quorate_node::replica::layout;
use quorate_node::scrub::ScrubPace;
use quorate_node::start::Standing;
use quorate_node::storage::Column;
use quorate_ring::wire::{Request, RequestError};

use super::harness::{Cluster, key, node};

const PAUSE: Duration = Duration::from_millis(100);

#[test]
fn pages_that_were_not_compared_with_every_replica_are_counted() {
    let pace = ScrubPace { pause: PAUSE, round: PAUSE, horizon: Duration::from_secs(60) };
    let mut cluster = Cluster::with(3, |config| config.scrub = Some(pace));
    cluster.put(node(1), &key("k"), "value", None).expect("all are connected");
    let sweep = |cluster: &mut Cluster| {
        (0..50).for_each(|_| cluster.pass(PAUSE));
        let scrub = cluster.machines[&node(1)].shard.scrub();
        (scrub.sweep.rounds(), scrub.counters.pages_uncompared)
    };
    let (rounds, uncompared) = sweep(&mut cluster);
    assert!(0 < rounds && uncompared == 0);
    cluster.disconnect(node(1), node(3));
    let (later, uncompared) = sweep(&mut cluster);
    assert!(rounds < later && 0 < uncompared);
}

#[test]
fn status_says_what_is_behind_and_what_the_disk_did_wrong() {
    let pace = ScrubPace { pause: PAUSE, round: PAUSE, horizon: Duration::from_secs(60) };
    let mut cluster = Cluster::apart(3, |config| {
        config.scrub = Some(pace);
        config.standing = if config.actor.node == node(1) { Standing::Lost } else { Standing::Proven };
    });
    let status = |cluster: &Cluster, at| cluster.machines[&node(at)].shard.sync_status(Time::default());
    assert_eq!([1, 2].map(|at| status(&cluster, at).partitions_behind), [8, 0]);

    cluster.connect(node(2), node(3));
    cluster.put(node(2), &key("k"), "value", None).expect("two of three");
    cluster.disconnect(node(2), node(3));
    let rotten = layout::object(&key("k"));
    assert!(cluster.machines.get_mut(&node(2)).expect("a node").store.rot(Column::Objects, &rotten));
    let read = cluster.ask(node(2), Request::Get { key: key("k"), r: Some(1), strict: true });
    assert!(matches!(read, Err(RequestError::ReadQuorum { .. })), "{read:?}");
    assert_eq!((status(&cluster, 2).scrub.keys_unreadable, status(&cluster, 2).scrub.faults_mended), (1, 0));
    cluster.connect(node(2), node(3));
    (0..100).for_each(|_| cluster.pass(PAUSE));
    assert_eq!((status(&cluster, 2).scrub.keys_unreadable, status(&cluster, 2).scrub.faults_mended), (0, 1));
}
