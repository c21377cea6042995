//! Datagrams between nodes, for the failure detector: what became of them, and what it thinks of the peers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use quinn::Connection;
use quorate_ring::NodeId;

use crate::membership::Standing;

/// What all parts of a node share about its failure detector.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    dropped: AtomicU64,
    standings: Mutex<Arc<BTreeMap<NodeId, Standing>>>,
}

impl Datagrams {
    /// Sends a datagram. One that the connection does not take is dropped, as the network might: the peer runs a release without them, or the
    /// connection has just ended.
    pub(super) fn send(&self, connection: &Connection, datagram: Bytes) {
        if connection.send_datagram(datagram).is_err() {
            self.drop_one();
        }
    }

    /// A datagram is dropped.
    pub(super) fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were dropped by this node, either way.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// What is thought of the peers.
    pub(super) fn standings(&self) -> Arc<BTreeMap<NodeId, Standing>> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something else is thought of them. What changed is told once.
    pub(super) fn set_standings(&self, standings: Arc<BTreeMap<NodeId, Standing>>) {
        let mut known = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        for (peer, standing) in standings.iter().filter(|(peer, standing)| known.get(peer) != Some(standing)) {
            match standing {
                Standing::Alive => tracing::info!(%peer, "peer is alive"),
                Standing::Suspected => tracing::info!(%peer, "peer is suspected: others could not reach it"),
                Standing::Down => tracing::warn!(%peer, "peer is down: it is asked last, and hints are kept for it"),
            }
        }
        *known = standings;
    }
}
