//! What the links to peers have carried, and apart from it what the connections of clients have, as the connections count it: datagrams of UDP
//! with everything in them, so that what is sent twice and what seals it counts, too.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quinn::Connection;

use super::turn::LinkId;

/// Bytes of UDP datagrams, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    pub(super) sent: u64,
    pub(super) received: u64,
}

/// The links or connections that there are, and what those that have ended carried.
#[derive(Default)]
pub(super) struct Traffic(Mutex<Links>);

#[derive(Default)]
struct Links {
    ended: Bytes,
    live: BTreeMap<LinkId, Connection>,
}

impl Traffic {
    /// A link begins.
    pub(super) fn begin(&self, link: LinkId, connection: &Connection) {
        self.links().live.insert(link, connection.clone());
    }

    /// A link is over. What its connection still sends to say so is not counted.
    pub(super) fn end(&self, link: LinkId) {
        let mut links = self.links();
        if let Some(connection) = links.live.remove(&link) {
            links.ended.add(&connection);
        }
    }

    /// What all of them have carried so far.
    pub(super) fn bytes(&self) -> Bytes {
        let links = self.links();
        let mut bytes = links.ended;
        links.live.values().for_each(|connection| bytes.add(connection));
        bytes
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bytes {
    fn add(&mut self, connection: &Connection) {
        let statistics = connection.stats();
        self.sent += statistics.udp_tx.bytes;
        self.received += statistics.udp_rx.bytes;
    }
}
