//! The client over the real transport, against nodes in this process.

mod fake;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use fake::{Authority, CLUSTER, Cluster, Mood, Node, id};
use quorate_client::transport::{Credentials, CredentialsError};
use quorate_client::{Client, Cursor, Error, Outcome};
use quorate_ring::limits::VALUE_BYTES_MAX;
use quorate_ring::wire::{PROTOCOL_VERSION, RequestError};
use tokio::time::Instant;

async fn connect_error(cluster: &str, seed: &str, credentials: Credentials) -> String {
    let builder = Client::builder().cluster(cluster).seeds([seed]).credentials(credentials);
    builder.timeout(Duration::from_secs(2)).connect().await.expect_err("must not connect").to_string()
}

#[tokio::test]
async fn node_of_another_ca_is_named_so() {
    let cluster = Cluster::start(1);
    let other = Authority::new();
    // Signed by the right CA, but trusting the other one.
    let credentials = cluster.authority.credentials(&["client.test.quorate".to_owned()], &other);
    let error = connect_error(CLUSTER, &cluster.nodes[0].address.to_string(), credentials).await;
    assert!(error.contains("the node's certificate is not signed by this CA (the CA certificate given)"), "{error}");
    assert!(error.contains(&cluster.nodes[0].address.to_string()), "{error}");
}

#[tokio::test]
async fn client_of_another_ca_is_told_so() {
    let cluster = Cluster::start(1);
    let credentials = Authority::new().credentials(&["client.test.quorate".to_owned()], &cluster.authority);
    let error = connect_error(CLUSTER, &cluster.nodes[0].address.to_string(), credentials).await;
    assert!(
        error.contains("the node refused this side's certificate (it is not signed by the CA that the node trusts)"),
        "{error}"
    );
}

#[tokio::test]
async fn node_of_another_cluster_is_named_so() {
    let cluster = Cluster::start(1);
    let error = connect_error("other", &cluster.nodes[0].address.to_string(), cluster.authority.client()).await;
    assert!(
        error.contains("the node's certificate is not for other.quorate: the node belongs to another cluster"),
        "{error}"
    );

    let node = Node::start(1, &cluster.authority.node("other", 1), &cluster.objects);
    let error = connect_error("other", &node.address.to_string(), cluster.authority.client()).await;
    assert!(error.contains(r#"the node belongs to cluster "test", not to "other""#), "{error}");
}

#[tokio::test]
async fn other_protocol_version_is_told() {
    let cluster = Cluster::start(1);
    cluster.nodes[0].set(Mood::OldRelease);
    let error = connect_error(CLUSTER, &cluster.nodes[0].address.to_string(), cluster.authority.client()).await;
    let refused = format!("refused: the node speaks protocol version 0 and does not take {PROTOCOL_VERSION}");
    assert!(error.contains(&refused), "{error}");
}

#[tokio::test]
async fn a_node_that_takes_only_the_first_version_is_greeted_in_that() {
    let cluster = Cluster::start(1);
    cluster.nodes[0].set(Mood::FirstRelease);
    let client = cluster.client().await;
    assert_eq!(client.known_ring().members.len(), 1);
}

#[tokio::test]
async fn unreachable_seeds_are_all_listed() {
    let credentials = Authority::new().client();
    let builder = Client::builder().cluster(CLUSTER).seeds(["127.0.0.1:9", "no host", "127.0.0.1:10"]);
    let started = Instant::now();
    let error = builder
        .credentials(credentials)
        .timeout(Duration::from_millis(300))
        .connect()
        .await
        .expect_err("nobody is there");
    assert!(started.elapsed() < Duration::from_secs(2));
    let Error::Unreachable { tried } = &error else { panic!("{error}") };
    assert_eq!(tried.len(), 3);
    let text = error.to_string();
    assert!(text.contains("127.0.0.1:9: not reached: nothing answers there"), "{text}");
    assert!(text.contains(r#"no host: not reached: "no host" is no usable address"#), "{text}");
    assert_eq!((error.outcome(), error.is_transient()), (Outcome::NothingChanged, true));
}

#[test]
fn wrong_files_are_named() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue(&["client.test.quorate".to_owned()]);
    let (_, other_key) = authority.issue(&["client.test.quorate".to_owned()]);
    let load = |ca: &str, certificate: &str, key: &str| {
        Credentials::from_pem(ca.as_bytes(), certificate.as_bytes(), key.as_bytes())
    };
    assert!(load(&authority.pem(), &certificate, &key).is_ok());
    let error = load("nonsense", &certificate, &key).expect_err("no PEM");
    assert!(error.to_string().contains("the CA certificate given holds no CA certificate in PEM format"), "{error}");
    let error = load(&authority.pem(), &certificate, &other_key).expect_err("keys differ");
    assert!(matches!(error, CredentialsError::Identity { .. }), "{error}");
    let error = Credentials::load("/nowhere/ca.pem".as_ref(), "b".as_ref(), "c".as_ref()).expect_err("no file");
    assert!(error.to_string().starts_with("cannot read the CA certificate from /nowhere/ca.pem: "), "{error}");
}

#[tokio::test]
async fn client_that_misses_something_says_what() {
    let error = Client::builder().connect().await.expect_err("nothing is set");
    assert_eq!(error.to_string(), "a client needs the name of its cluster");
}

#[tokio::test]
async fn values_come_back_up_to_the_largest() {
    let cluster = Cluster::start(3);
    let photos = cluster.client().await.bucket("photos").expect("valid");
    for bytes in [0, 1, 5_000, 100_000, VALUE_BYTES_MAX] {
        let value = Bytes::from(vec![7; bytes]);
        photos.put(format!("{bytes}"), value.clone()).await.expect("stored");
        let found = photos.get(format!("{bytes}")).await.expect("answered");
        assert_eq!(found.single(), Some(&value));
    }
    let error = photos.put("k", vec![0; VALUE_BYTES_MAX + 1]).await.expect_err("too large");
    assert!(matches!(error, Error::InvalidValue(_)), "{error}");
    let error = photos.get("").await.expect_err("no key");
    assert!(matches!(error, Error::InvalidKey(_)), "{error}");
    let error = photos.get("k").r(4).await.expect_err("more than there are");
    assert!(matches!(error, Error::InvalidQuorum(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_share_a_connection() {
    let cluster = Cluster::start(3);
    let carts = cluster.client().await.bucket("carts").expect("valid");
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..50 {
        let carts = carts.clone();
        tasks.spawn(async move {
            for round in 0..40 {
                let key = format!("{task}/{round}");
                carts.put(&key, key.clone()).await.expect("stored");
                assert_eq!(
                    carts.get(&key).await.expect("answered").single().map(|value| &value[..]),
                    Some(key.as_bytes())
                );
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.expect("no panic");
    }
    for node in &cluster.nodes {
        // One as a seed, whose certificate need not name it, and one as a member.
        assert!(node.connections.load(Ordering::Relaxed) <= 2);
        // How many depends on the machine: who pauses is asked less for a while.
        assert_ne!(node.requests.load(Ordering::Relaxed), 0, "load is spread");
    }
}

#[tokio::test]
async fn requests_go_elsewhere_when_a_node_is_lost() {
    let cluster = Cluster::start(3);
    let carts = cluster.client().await.bucket("carts").expect("valid");
    carts.put("ann", "milk").await.expect("stored");
    cluster.nodes[0].stop();
    for _ in 0..20 {
        assert!(!carts.get("ann").await.expect("others answer").is_empty());
        // The first put after the loss may have been sent to the lost node.
        if let Err(error) = carts.put("ann", "eggs").await {
            assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        }
    }
}

#[tokio::test]
async fn silent_node_delays_a_read_once_and_is_then_avoided() {
    let cluster = Cluster::start(3);
    let carts = cluster.client().await.bucket("carts").expect("valid");
    carts.put("ann", "milk").await.expect("stored");
    cluster.nodes[1].set(Mood::Silent);
    let started = Instant::now();
    for _ in 0..30 {
        carts.get("ann").timeout(Duration::from_secs(1)).await.expect("others answer");
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn lost_write_is_not_repeated() {
    let cluster = Cluster::start(3);
    let carts = cluster.client().await.bucket("carts").expect("valid");
    cluster.nodes.iter().for_each(|node| node.set(Mood::DiesAtPut));
    let before: u64 = cluster.nodes.iter().map(|node| node.requests.load(Ordering::Relaxed)).sum();
    let error = carts.put("ann", "milk").await.expect_err("the node died");
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    assert!(error.to_string().contains("killed"), "{error}");
    let after: u64 = cluster.nodes.iter().map(|node| node.requests.load(Ordering::Relaxed)).sum();
    assert_eq!(after - before, 1);
}

#[tokio::test]
async fn overload_is_waited_out() {
    let cluster = Cluster::start(3);
    let carts = cluster.client().await.bucket("carts").expect("valid");
    cluster.nodes.iter().for_each(|node| node.set(Mood::Overloaded));
    let error = carts.put("ann", "milk").timeout(Duration::from_millis(200)).await.expect_err("overloaded throughout");
    assert!(matches!(error, Error::Node { error: RequestError::Overloaded { .. }, .. }), "{error}");
    let (put, ()) = tokio::join!(carts.put("ann", "milk").into_future(), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cluster.nodes.iter().for_each(|node| node.set(Mood::Obliging));
    });
    put.expect("stored after the overload");
}

#[tokio::test]
async fn batches_answer_each_item_in_order() {
    let cluster = Cluster::start(5);
    let carts = cluster.client().await.bucket("carts").expect("valid");
    let before: u64 = cluster.nodes.iter().map(|node| node.requests.load(Ordering::Relaxed)).sum();
    let results = carts.put_many((0..500).map(|number| (format!("{number}"), format!("value {number}")))).await;
    assert!(results.iter().all(Result::is_ok));
    let after: u64 = cluster.nodes.iter().map(|node| node.requests.load(Ordering::Relaxed)).sum();
    assert!(after - before <= 10, "one message to each node, not {}", after - before);
    let keys: Vec<String> =
        (0..501).map(|number| if number == 250 { String::new() } else { format!("{number}") }).collect();
    let found = carts.get_many(&keys).await;
    assert_eq!(found.len(), 501);
    for (number, found) in found.into_iter().enumerate() {
        match (number, found) {
            (250, found) => assert!(matches!(found, Err(Error::InvalidKey(_)))),
            (500, found) => assert!(found.expect("answered").is_empty()),
            (_, found) => assert_eq!(found.expect("answered").single(), Some(&Bytes::from(format!("value {number}")))),
        }
    }
}

#[tokio::test]
async fn update_merges_siblings_until_none_is_left() {
    let cluster = Cluster::start(3);
    let carts = cluster.client().await.bucket("carts").expect("valid");
    carts.put("ann", "milk").await.expect("stored");
    carts.put("ann", "eggs").await.expect("stored beside");
    let add = |siblings: &[Bytes]| {
        let items = siblings.iter().flat_map(|cart| cart.split(|byte| *byte == b',')).map(<[u8]>::to_vec);
        let items: BTreeSet<Vec<u8>> = items.chain([b"tea".to_vec()]).collect();
        items.into_iter().collect::<Vec<_>>().join(&b',')
    };
    let updated = carts.update("ann", add).await.expect("merged");
    assert_eq!((&updated.value()[..], updated.attempts()), (&b"eggs,milk,tea"[..], 1));
    assert_eq!(carts.get("ann").await.expect("answered").single(), Some(updated.value()));
    let stored = carts.put("ann", "wine").context(updated.context()).await.expect("stored");
    assert_eq!(stored.siblings(), 1);
}

#[tokio::test]
async fn delete_without_a_context_deletes_what_is_there() {
    let cluster = Cluster::start(3);
    let carts = cluster.client().await.bucket("carts").expect("valid");
    assert_eq!(carts.delete("ann").await.expect("nothing to do").siblings(), 0);
    carts.put("ann", "milk").await.expect("stored");
    carts.delete("ann").await.expect("deleted");
    assert!(carts.get("ann").await.expect("answered").is_empty());
}

#[tokio::test]
async fn scan_sees_every_key_once_and_goes_on_from_its_cursor() {
    let cluster = Cluster::start(3);
    let carts = cluster.client().await.bucket("carts").expect("valid");
    let keys: BTreeSet<String> = (0..300).map(|number| format!("key {number}")).collect();
    carts
        .put_many(keys.iter().map(|key| (key.clone(), "v")))
        .await
        .into_iter()
        .for_each(|result| drop(result.expect("stored")));
    let (mut seen, mut cursor): (Vec<String>, Option<Cursor>) = (Vec::new(), None);
    loop {
        // A new scan for every page, from the text of the cursor before.
        let scan = carts.scan().page_items(7).ahead(3);
        let mut scan = match &cursor {
            Some(cursor) => scan.from(cursor.to_string().parse().expect("its own text")),
            None => scan,
        };
        let Some(page) = scan.next_page().await.expect("answered") else { break };
        assert!(page.entries.len() <= 7);
        seen.extend(page.entries.iter().map(|entry| String::from_utf8_lossy(entry.key()).into_owned()));
        cursor = Some(page.cursor);
    }
    assert_eq!(seen.len(), 300);
    assert_eq!(seen.iter().cloned().collect::<BTreeSet<_>>(), keys);

    let mut scan = carts.scan().page_items(50);
    let mut in_one_go = Vec::new();
    while let Some(entry) = scan.next().await.expect("answered") {
        in_one_go.push(String::from_utf8_lossy(entry.key()).into_owned());
    }
    assert_eq!(in_one_go, seen, "both in the order of the ring");
    let mut foreign = carts.scan().from("q1:photos:0:".parse().expect("a cursor"));
    assert!(matches!(foreign.next_page().await, Err(Error::InvalidCursor { .. })));
    for text in ["", "q1:carts:0", "q1:carts:99999:", "q1:carts:0:abc", "q1:carts:0:zz", "q2:carts:0:"] {
        assert!(text.parse::<Cursor>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn status_is_asked_of_that_node_alone() {
    let cluster = Cluster::start(3);
    let client = cluster.builder().timeout(Duration::from_millis(300)).connect().await.expect("the nodes run");
    let statuses = client.statuses().await;
    assert_eq!(statuses.len(), 3);
    for (index, (node, status)) in statuses.into_iter().enumerate() {
        assert_eq!(node, id(index as u32 + 1));
        assert!(matches!(status, Err(Error::Node { node: by, .. }) if by == node));
    }
}

#[tokio::test]
async fn close_ends_what_is_under_way_and_says_so() {
    let cluster = Cluster::start(1);
    let client = cluster.client().await;
    let carts = client.bucket("carts").expect("valid");
    assert_eq!(client.ring().await.expect("answered"), client.known_ring());
    cluster.nodes[0].set(Mood::Silent);
    let started = Instant::now();
    let (get, put, many, ()) = tokio::join!(
        carts.get("ann").into_future(),
        carts.put("ann", "milk").into_future(),
        carts.put_many([("bob", "eggs")]).into_future(),
        async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            client.close().await;
        }
    );
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(matches!(get, Err(Error::Closed)), "{get:?}");
    for write in [&put, &many[0]] {
        assert!(matches!(write, Err(Error::OutcomeUnknown { .. })), "it had been sent: {write:?}");
    }
    assert!(matches!(carts.get("ann").await, Err(Error::Closed)));
}
