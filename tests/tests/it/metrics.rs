//! What a monitoring system is told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use quorate_tests::{ClusterOptions, wait};

use crate::support::until_missed;

/// A node that is dead is probed within a few seconds, suspected for five, and word of it goes around.
const FOUND_MAX: Duration = Duration::from_secs(60);

/// Asks as any HTTP client would, and gives the whole answer.
fn ask(address: SocketAddr, line: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the node listens there");
    write!(stream, "{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[track_caller]
fn assert_has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|one| one == *line), "expected {line:?} in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_its_metrics_where_it_was_asked_to() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let mut cluster = ClusterOptions::new(4).prepare();
    cluster.node(1).set_flags(&["--metrics", &free.to_string()]);
    cluster.start_all();
    cluster.connected().await;
    let client = cluster.client().await;
    cluster.node(4).kill();
    until_missed(&client, 1, 4).await;
    let bucket = client.bucket("b").expect("valid");
    for number in 0..40 {
        bucket.put(number.to_string(), "value").w(3).await.expect("three nodes are up");
    }
    let answer = ask(free, "GET /metrics");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("# EOF\n"), "{answer}");
    assert_has(&answer, &["# TYPE quorate_requests counter", "quorate_peer_connected{peer=\"n4\"} 0.0"]);
    assert_has(&answer, &["quorate_peer_connected{peer=\"n2\"} 1.0", "quorate_complete 1.0"]);
    let number = |name: &str| {
        let told = answer.lines().find_map(|line| line.strip_prefix(name)).expect("it is told");
        told.trim().parse::<u64>().expect("a number")
    };
    assert!((1..=40).contains(&number("quorate_requests_total{kind=\"put\"}")));
    let (sent, received) = (number("quorate_peer_sent_bytes_total"), number("quorate_peer_received_bytes_total"));
    assert!(40 * "value".len() as u64 <= sent && 0 < received, "{sent}, {received}");
    let bytes_of = |part: &str| {
        let name = format!("quorate_store_memory_bytes{{part=\"{part}\"}} ");
        let told = answer.lines().find_map(|line| line.strip_prefix(&name)).expect("it is told");
        told.parse::<f64>().expect("a number")
    };
    // The cache has a table of its own; nothing was written out yet.
    assert!(0.0 < bytes_of("block_cache") && 0.0 < bytes_of("memtables"), "{answer}");
    assert_eq!(bytes_of("tables"), 0.0, "{answer}");

    // Those that are left probe the dead one, by datagrams, and each other.
    let is_told = |line: &str| ask(free, "GET /metrics").lines().any(|one| one == line).then_some(());
    wait::until("the dead node is found", FOUND_MAX, || is_told("quorate_peer_down{peer=\"n4\"} 1.0"));
    assert_has(
        &ask(free, "GET /metrics"),
        &["quorate_peer_down{peer=\"n2\"} 0.0", "quorate_peer_down{peer=\"n3\"} 0.0"],
    );

    assert!(ask(free, "GET /").contains("the metrics are at /metrics"));
    assert!(ask(free, "POST /metrics").starts_with("HTTP/1.1 405"));
    cluster.node(4).set_flags(&["--metrics", &free.to_string()]);
    let ended = cluster.node(4).try_start().expect_err("the port is taken");
    assert_eq!(ended.code, 5, "{}", ended.log);
    assert!(ended.log.contains(&format!("cannot listen on TCP {free} for metrics")), "{}", ended.log);
    assert!(ended.log.contains("--metrics"), "{}", ended.log);
}
