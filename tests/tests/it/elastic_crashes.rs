//! Nodes, and whole zones, that are killed while a cluster changes or serves.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_client::{Client, Write};
use quorate_ring::{Member, Ring};
use quorate_tests::{Cluster, wait};

use crate::application::{Acknowledged, Load, Patience, assert_all, value};
use crate::elastic::{AT_MOST, commit_and_wait, join, members, options, run};
use crate::support::{assert_same_stores, status, until_missed, wait_converged};

/// The bucket of what is written before a change.
const BEFORE: &str = "before";
/// Records that are written before a change, so that it takes long enough to be disturbed.
const RECORDS: u32 = 1_500;
/// Bytes of each: all of them take some seconds to be sent.
const RECORD_BYTES: usize = 32 << 10;

/// Writes what is to be moved by a change.
async fn fill(client: &Client) -> Acknowledged {
    let bucket = client.bucket(BEFORE).expect("valid");
    let mut acknowledged = Acknowledged::new();
    for first in (0..RECORDS).step_by(100) {
        let records: Vec<(String, Bytes)> = (first..first + 100).map(record).collect();
        let stored = bucket.put_many(records.iter().map(|(key, value)| Write::new(key.clone(), value.clone()))).w(3);
        stored.await.into_iter().for_each(|stored| drop(stored.expect("all nodes are up")));
        acknowledged.extend(records.into_iter().map(|(key, value)| (key, blake3::hash(&value))));
    }
    acknowledged
}

fn record(number: u32) -> (String, Bytes) {
    let key = format!("record {number}");
    let mut bytes = value(&key, 0).to_vec();
    bytes.resize(RECORD_BYTES, b'.');
    (key, bytes.into())
}

/// Waits until a node that joins has begun to receive what it is to hold.
async fn until_it_receives(cluster: &mut Cluster, number: u32) {
    let client = cluster.client().await;
    let address = cluster.node(number).address().to_string();
    let receives = async || {
        let behind = client.status_at(&address).await.ok()?.sync.partitions_behind;
        (0 < behind).then_some(())
    };
    wait::until_async(&format!("n{number} receives"), wait::BOUND, receives).await;
}

/// Asserts that a change is under way, and stays so as long as a node is away.
async fn assert_waits(cluster: &Cluster) {
    let waited = cluster.quorate(["wait", "--stable", "--at-most", "1s"]).run();
    waited.ends_with(3).says(&["the ring changes from epoch 1 to 2"]);
}

/// Asserts that all is there, by its hash, and that the replicas are the same byte for byte.
async fn assert_nothing_lost(cluster: &mut Cluster, before: &Acknowledged, load: Load) {
    let written = load.finish(cluster).await;
    wait_converged(cluster);
    let client = cluster.client().await;
    assert_all(&client.bucket(BEFORE).expect("valid"), before, 3).await;
    client.close().await;
    assert_eq!(assert_same_stores(cluster).await, before.len() + written.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_while_it_gives_goes_on_when_it_is_back() {
    // All three have all that n4 is to hold, and it receives from all of them at once.
    killed_while_a_fourth_receives(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_while_it_receives_goes_on_when_it_is_back() {
    // Nobody reads from it yet, and nobody needs it to write, but who asks it as the first to write.
    killed_while_a_fourth_receives(4).await;
}

async fn killed_while_a_fourth_receives(killed: u32) {
    let mut cluster = options(3).start().await;
    let client = cluster.client().await;
    let before = fill(&client).await;
    let mut load = Load::start(&client, Patience::Some);
    load.goes_on(20).await;
    join(&mut cluster, &[4]);
    run(&cluster, &["cluster", "commit"]);
    until_it_receives(&mut cluster, 4).await;
    cluster.node(killed).kill();
    assert_waits(&cluster).await;
    load.goes_on(20).await;
    cluster.node(killed).start();
    run(&cluster, &["wait", "--stable", "--at-most", AT_MOST]);
    assert_eq!(members(&cluster), [1, 2, 3, 4]);
    assert_nothing_lost(&mut cluster, &before, load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_is_replaced_by_a_new_one_and_every_record_has_three_replicas_again() {
    let mut cluster = options(3).start().await;
    let client = cluster.client().await;
    let before = fill(&client).await;
    cluster.node(2).kill();
    until_missed(&client, 1, 2).await;
    until_missed(&client, 3, 2).await;
    // Of a client that has noticed no request fails.
    let client = cluster.client().await;
    let load = Load::start(&client, Patience::None);
    let address = cluster.add(4).address().to_string();
    let address_of_2 = cluster.node(2).address().to_string();
    cluster.node(4).start();
    let unforced = cluster.quorate(["cluster", "replace", "2", "4", &address]).run();
    unforced.ends_with(0).says(&["n2 does not answer", "--force"]);
    run(&cluster, &["cluster", "leave", "2", "--force"]);
    commit_and_wait(&cluster);
    assert_eq!(members(&cluster), [1, 3, 4]);
    // It was not dead after all.
    cluster.node(2).start();
    let again = cluster.quorate(["cluster", "join", "2", &address_of_2]).run();
    again.ends_with(2).says(&["n2 was removed by force", "such as 5"]);
    run(&cluster, &["wait", "--stable", "--at-most", AT_MOST]);
    assert_eq!(members(&cluster), [1, 3, 4]);
    cluster.node(2).kill();
    cluster.take_out(2);
    assert_nothing_lost(&mut cluster, &before, load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_zone_is_killed_and_nobody_notices_who_has_noticed_that_it_is_gone() {
    const ZONE_OF_A: [u32; 2] = [1, 4];
    let mut cluster = options(6).zones(&["a", "b", "c"]).start().await;
    assert_three_zones(&cluster).await;
    let client = cluster.client().await;
    let before = fill(&client).await;
    for number in ZONE_OF_A {
        cluster.node(number).kill();
    }
    for (by, missing) in [2, 3, 5, 6].iter().flat_map(|by| ZONE_OF_A.map(|missing| (*by, missing))) {
        until_missed(&client, by, missing).await;
    }
    let client = cluster.client().await;
    let mut load = Load::start(&client, Patience::None);
    load.goes_on(500).await;
    assert_all(&client.bucket(BEFORE).expect("valid"), &before, 2).await;
    for number in ZONE_OF_A {
        cluster.node(number).start();
    }
    cluster.connected().await;
    load.goes_on(200).await;
    assert_three_zones(&cluster).await;
    assert_nothing_lost(&mut cluster, &before, load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_zone_is_killed_under_load_and_nothing_that_was_acknowledged_is_lost() {
    let mut cluster = options(6).zones(&["a", "b", "c"]).start().await;
    let client = cluster.client().await;
    let mut load = Load::start(&client, Patience::Some);
    load.goes_on(100).await;
    cluster.node(2).kill();
    cluster.node(5).kill();
    load.goes_on(100).await;
    cluster.start_all();
    assert!(status(&client, 2).await.complete, "a process that was killed has lost nothing");
    load.goes_on(100).await;
    assert_nothing_lost(&mut cluster, &Acknowledged::new(), load).await;
}

/// Asserts that each partition has its replicas in three zones: in the ring as clients go by it, and, for some keys, as `quorate ring`
/// tells it.
async fn assert_three_zones(cluster: &Cluster) {
    let description = cluster.client().await.known_ring();
    let member = |member: &quorate_ring::wire::MemberDescription| Member {
        node: member.node,
        zone: member.zone.clone(),
        capacity: member.capacity,
    };
    let members = description.members.iter().map(member).collect();
    let ring = Ring::new(description.partitions, description.replicas, members, description.owners).expect("a ring");
    for partition in ring.partitions().partitions() {
        let zones: BTreeSet<_> = ring.primaries(partition).map(|node| &ring.member(node).expect("one").zone).collect();
        assert_eq!(zones.len(), 3, "{partition:?} is in {zones:?}");
    }

    for key in 0..5 {
        let told: serde_json::Value =
            serde_json::from_str(&run(cluster, &["ring", "--json", "--key", &format!("key {key}")])).expect("JSON");
        let members = told["members"].as_array().expect("a ring has members");
        let zones: BTreeMap<_, _> = members.iter().map(|member| (member["node"].as_u64(), &member["zone"])).collect();
        let primaries = told["key"]["primaries"].as_array().expect("a key has primaries");
        let zones: BTreeSet<_> = primaries.iter().map(|node| zones[&node.as_u64()].as_str()).collect();
        assert_eq!(zones, BTreeSet::from([Some("a"), Some("b"), Some("c")]), "{told}");
    }
}
