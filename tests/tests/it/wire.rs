//! Others on the wire: another protocol, another ring, false names, and noise.

use std::net::UdpSocket;

use quinn::{Connection, Endpoint};
use quorate_client::transport::{Credentials, FrameReceiver, FrameSender, cluster_server_name, quic};
use quorate_ring::ClusterName;
use quorate_ring::version::Incarnation;
use quorate_ring::wire::{
    ClientMessage, Hello, NodeMessage, NodeStatus, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, Refusal, Request, RequestId,
    Response, Role, Welcome,
};
use quorate_tests::Cluster;
use quorate_tests::wait::{BOUND, until_async};

use crate::support::{assert_value, node};

/// A connection to n1 with somebody's certificate.
struct Stranger {
    connection: Connection,
    // The connection lives as long as its endpoint.
    _endpoint: Endpoint,
}

impl Stranger {
    async fn connect(cluster: &mut Cluster, holder: &str) -> Self {
        let file = |name: &str| cluster.file(name);
        let (certificate, key) = (file(&format!("{holder}.pem")), file(&format!("{holder}.key")));
        let credentials = Credentials::load(&file("ca.pem"), &certificate, &key).expect("`quorate cert` made them");
        let address = cluster.node(1).address();
        let endpoint = quic::client_endpoint(address).expect("a socket");
        let name = cluster_server_name(&cluster.name());
        let connecting =
            endpoint.connect_with(credentials.client_config(address), address, &name).expect("a valid address");
        Self { connection: connecting.await.expect("n1 runs"), _endpoint: endpoint }
    }

    async fn greet(&self, hello: &Hello) -> Welcome {
        self.open(hello).await.0
    }

    async fn open(&self, hello: &Hello) -> (Welcome, FrameSender, FrameReceiver) {
        let (sender, receiver) = self.connection.open_bi().await.expect("n1 takes streams");
        let (mut sender, mut receiver) = (FrameSender::new(sender), FrameReceiver::new(receiver));
        sender.send(hello).await.expect("n1 reads");
        let welcome = receiver.receive().await.expect("n1 answers").expect("before it closes the stream");
        (welcome, sender, receiver)
    }

    /// What n1 says of itself to one who greets it so.
    async fn status(&self, hello: &Hello) -> NodeStatus {
        let (_, mut sender, mut receiver) = self.open(hello).await;
        let (id, request) = (RequestId(7), Request::Status);
        sender.send(&ClientMessage { id, timeout_millis: 5_000, request }).await.expect("n1 reads");
        let answer = receiver.receive::<NodeMessage>().await.expect("n1 answers").expect("before it closes the stream");
        let Ok(Response::Status(status)) = answer.result else { panic!("a status, not {answer:?}") };
        *status
    }
}

fn hello(cluster: &Cluster) -> Hello {
    Hello { protocol: PROTOCOL_VERSION, cluster: cluster.name(), role: Role::Client }
}

fn peer(number: u32, ring: u64) -> Role {
    Role::Peer { node: node(number), incarnation: Incarnation::new(1), ring, secret: 0 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_told_why_it_is_refused() {
    let mut cluster = Cluster::start(3).await;
    let own = hello(&cluster);
    let client = async |cluster: &mut Cluster| Stranger::connect(cluster, "client").await;

    let older = client(&mut cluster).await.greet(&Hello { protocol: 0, ..own.clone() }).await;
    assert_eq!(older, Welcome::Refused(Refusal::Protocol { node: PROTOCOL_VERSION, yours: 0 }));

    let elsewhere = ClusterName::new("elsewhere").expect("valid");
    let lost = client(&mut cluster).await.greet(&Hello { cluster: elsewhere, ..own.clone() }).await;
    assert!(matches!(lost, Welcome::Refused(Refusal::Cluster { .. })), "{lost:?}");

    let other_ring =
        Stranger::connect(&mut cluster, "n2").await.greet(&Hello { role: peer(2, 7), ..own.clone() }).await;
    assert!(matches!(other_ring, Welcome::Refused(Refusal::Ring { yours: 7, .. })), "{other_ring:?}");

    for (holder, role) in [("client", peer(2, 7)), ("n3", peer(2, 7)), ("n2", peer(1, 7))] {
        let false_name = Stranger::connect(&mut cluster, holder).await.greet(&Hello { role, ..own.clone() }).await;
        assert!(matches!(false_name, Welcome::Refused(Refusal::Identity { .. })), "{holder}: {false_name:?}");
    }

    // Of two versions the lower is spoken.
    for protocol in [PROTOCOL_VERSION_MIN, PROTOCOL_VERSION, 999] {
        let welcome = client(&mut cluster).await.greet(&Hello { protocol, ..own.clone() }).await;
        assert!(matches!(welcome, Welcome::Accepted { protocol: PROTOCOL_VERSION, .. }), "{protocol}: {welcome:?}");
    }

    // A node may ask what a client may: one that is to join does.
    for holder in ["client", "n2"] {
        let welcome = Stranger::connect(&mut cluster, holder).await.greet(&own).await;
        assert!(matches!(welcome, Welcome::Accepted { .. }), "{holder}: {welcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_has_used_is_told_only_to_those_who_can_read_it() {
    let mut cluster = Cluster::start(3).await;
    let own = hello(&cluster);
    let client = Stranger::connect(&mut cluster, "client").await;
    for protocol in [1, 2] {
        assert_eq!(client.status(&Hello { protocol, ..own.clone() }).await.usage, None, "{protocol}");
    }
    let usage = client.status(&own).await.usage.expect("it is told in the newest version");
    assert!(0 < usage.peer_bytes_sent && 0 < usage.client_bytes_sent && 0 < usage.client_bytes_received, "{usage:?}");
    assert!(usage.context_switches.is_some_and(|switches| 0 < switches), "{usage:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_secret_is_refused_by_its_peers_and_status_says_why() {
    let mut cluster = Cluster::start(3).await;
    cluster.node(3).stop();
    std::fs::write(cluster.file("cluster.secret"), "as long as a secret has to be, and another").expect("it is ours");
    cluster.node(3).start();
    let refused = async || {
        let status = cluster.quorate(["status"]).run();
        status.stdout.contains("was given another secret").then_some(())
    };
    until_async("status says that n3 is refused", BOUND, refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_does_not_disturb_a_node() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let bucket = client.bucket("b").expect("valid");
    bucket.put("key", "value").w(3).await.expect("all nodes are up");

    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for length in [0, 1, 20, 1200, 9000] {
        datagrams.send_to(&vec![0xc3; length], cluster.node(1).address()).expect("loopback takes it");
    }
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[0xff; 5000]] {
        // In place of a greeting, and behind a good one.
        for greeted in [false, true] {
            let stranger = Stranger::connect(&mut cluster, "client").await;
            let (sender, receiver) = stranger.connection.open_bi().await.expect("n1 takes streams");
            let (mut sender, mut receiver) = (FrameSender::new(sender), FrameReceiver::new(receiver));
            if greeted {
                sender.send(&hello(&cluster)).await.expect("n1 reads");
                let welcome = receiver.receive::<Welcome>().await.expect("n1 answers");
                assert!(matches!(welcome, Some(Welcome::Accepted { .. })), "{welcome:?}");
            }
            sender.push_encoded(noise);
            sender.flush().await.expect("n1 reads");
            sender.finish();
            let after = receiver.receive_payload().await;
            assert!(!matches!(after, Ok(Some(_))), "noise has no answer: {after:?}");
        }
    }
    let half = Stranger::connect(&mut cluster, "client").await;
    let (sender, _receiver) = half.connection.open_bi().await.expect("n1 takes streams");
    let mut sender = FrameSender::new(sender);
    // The header of a frame of 4 GiB, and nothing of it.
    sender.push_encoded(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1]);
    sender.flush().await.expect("n1 reads");

    for number in 0..50 {
        bucket.put(format!("key {number}"), "value").w(3).await.expect("all nodes serve");
    }
    assert_value(&bucket, "key", "value").await;
    assert!(!cluster.node(1).log().contains("panicked"), "{}", cluster.node(1).log());
}
