//! What the sweep says of itself.

use std::time::Duration;

use quorate_node::scrub::ScrubPace;

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
