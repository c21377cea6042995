//! What several modules do with a cluster.

use bytes::Bytes;
use quorate_client::{Bucket, Client, Error, Outcome};
use quorate_ring::wire::NodeStatus;
use quorate_ring::{NodeId, limits};
use quorate_tests::wait;

/// Writes a key as an application does that must have it written: where the outcome is not known it looks before it writes again.
pub(crate) async fn put_surely(bucket: &Bucket, key: &str, value: &str) {
    let write = async || {
        let found = bucket.get(key).await.ok()?;
        if found.values() == [Bytes::from(value.to_owned())] {
            return Some(());
        }
        match bucket.put(key, value.to_owned()).context(found.context()).await {
            Ok(_) => Some(()),
            Err(error) if error.is_transient() => None,
            Err(error) => panic!("{key}: {error}"),
        }
    };
    wait::until_async(&format!("{key} is written"), wait::BOUND, write).await;
}

/// Asserts that the key has exactly this value.
pub(crate) async fn assert_value(bucket: &Bucket, key: &str, value: &str) {
    let found = bucket.get(key).await.unwrap_or_else(|error| panic!("{key}: {error}"));
    assert_eq!(found.values(), [Bytes::from(value.to_owned())], "{key}");
}

/// Waits until a node has noticed that another is gone.
pub(crate) async fn until_missed(client: &Client, by: u32, missing: u32) {
    let missed = async || {
        let status = client.status(node(by)).await.ok()?;
        status.peers.iter().any(|peer| peer.node == node(missing) && !peer.connected).then_some(())
    };
    wait::until_async(&format!("n{by} misses n{missing}"), wait::BOUND, missed).await;
}

/// What a node says of itself.
pub(crate) async fn status(client: &Client, number: u32) -> NodeStatus {
    let ask = async || client.status(node(number)).await.ok();
    wait::until_async(&format!("n{number} tells its status"), wait::BOUND, ask).await
}

/// Asserts that an error says these, and that nothing was changed.
#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(result: Result<T, Error>, phrases: &[&str]) {
    let error = result.expect_err("it must be refused");
    assert_eq!(error.outcome(), Outcome::NothingChanged, "{error}");
    for phrase in phrases {
        assert!(error.to_string().contains(phrase), "expected {phrase:?} in {error}");
    }
}

/// A node's id.
pub(crate) fn node(number: u32) -> NodeId {
    NodeId::new(number).expect("nodes are counted from 1")
}

/// A value that is one byte too large.
pub(crate) fn too_large() -> Vec<u8> {
    vec![b'v'; limits::VALUE_BYTES_MAX + 1]
}
