//! What all connections of a running node share: who it is, who takes part, and the way to its shards.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate_client::transport::Credentials;
use quorate_ring::wire::{Hello, PeerStatus, Protocol, Role};
use quorate_ring::{ClusterName, NodeId};
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;

use super::clock::Clock;
use super::datagrams::Datagrams;
use super::traffic::Traffic;
use super::turn::{Event, LinkId};
use super::view::{Part, View};
use crate::SessionId;
use crate::shard::split::Slices;
use crate::start::Verdict;
use crate::storage::rocks::RocksStore;

/// One running node, as its connections see it.
pub(super) struct Shared {
    pub(super) node: NodeId,
    pub(super) cluster: ClusterName,
    /// The fingerprint of what contexts are sealed with.
    pub(super) secret: u64,
    pub(super) verdict: Verdict,
    /// The fingerprint of the ring that the cluster began with, which says which cluster of this name it is.
    pub(super) first_ring: u64,
    view: watch::Sender<Arc<View>>,
    pub(super) credentials: Credentials,
    pub(super) slices: Slices,
    pub(super) shards: Vec<Sender<Event>>,
    pub(super) store: Arc<RocksStore>,
    pub(super) clock: Clock,
    pub(super) stopping: AtomicBool,
    pub(super) peers: Peers,
    pub(super) datagrams: Arc<Datagrams>,
    pub(super) traffic: Traffic,
    /// What connections of clients have carried.
    pub(super) client_traffic: Traffic,
    session_next: AtomicU64,
    link_next: AtomicU64,
}

/// The parts of [`Shared`] that differ from node to node.
pub(super) struct Parts {
    pub(super) node: NodeId,
    pub(super) cluster: ClusterName,
    /// The fingerprint of what contexts are sealed with.
    pub(super) secret: u64,
    pub(super) verdict: Verdict,
    /// The fingerprint of the ring that the cluster began with.
    pub(super) first_ring: u64,
    pub(super) view: View,
    pub(super) credentials: Credentials,
    pub(super) slices: Slices,
    pub(super) shards: Vec<Sender<Event>>,
    pub(super) store: Arc<RocksStore>,
    pub(super) clock: Clock,
    pub(super) datagrams: Arc<Datagrams>,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Self {
        let peers = Peers::default();
        peers.set_expected(&parts.view);
        Self {
            node: parts.node,
            cluster: parts.cluster,
            secret: parts.secret,
            verdict: parts.verdict,
            first_ring: parts.first_ring,
            view: watch::Sender::new(Arc::new(parts.view)),
            credentials: parts.credentials,
            slices: parts.slices,
            shards: parts.shards,
            store: parts.store,
            clock: parts.clock,
            stopping: AtomicBool::new(false),
            peers,
            datagrams: parts.datagrams,
            traffic: Traffic::default(),
            client_traffic: Traffic::default(),
            session_next: AtomicU64::new(0),
            link_next: AtomicU64::new(0),
        }
    }

    /// Who takes part now.
    pub(super) fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Others take part from now on.
    pub(super) fn set_view(&self, view: View) {
        self.peers.set_expected(&view);
        self.view.send_replace(Arc::new(view));
    }

    /// Waits until a node takes no part any more.
    pub(super) async fn parted_from(&self, peer: NodeId) {
        let mut view = self.view.subscribe();
        // The sender is this one's own.
        let _ = view.wait_for(|view| !view.peers.contains_key(&peer)).await;
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(super) fn next_session(&self) -> SessionId {
        SessionId(self.session_next.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn next_link(&self) -> LinkId {
        LinkId(self.link_next.fetch_add(1, Ordering::Relaxed))
    }

    /// What this node says at the start of a stream that it opens to a peer.
    pub(super) fn hello(&self, protocol: Protocol) -> Hello {
        let role = Role::Peer {
            node: self.node,
            incarnation: self.verdict.incarnation,
            ring: self.first_ring,
            secret: self.secret,
        };
        Hello { protocol: protocol.number(), cluster: self.cluster.clone(), role }
    }

    /// Notes that there is no connection to a peer, and why. A node that stops ends them all, which is nothing to tell.
    pub(super) fn disconnected(&self, peer: NodeId, problem: String) {
        if !self.is_stopping() {
            self.peers.disconnected(peer, problem);
        }
    }

    /// The same at the end of a link, unless a newer one has replaced it.
    pub(super) fn link_ended(&self, peer: NodeId, link: LinkId, problem: String) {
        if !self.is_stopping() {
            self.peers.link_ended(peer, link, problem);
        }
    }

    /// How many shards there are.
    pub(super) fn shard_count(&self) -> u8 {
        u8::try_from(self.shards.len()).expect("a node has at most 64 shards")
    }

    /// Hands an event to a shard; waits while the shard has too much to do.
    pub(super) async fn send(&self, shard: u8, event: Event) {
        // A shard that has ended takes nothing: the node is stopping.
        let _ = self.shards[usize::from(shard)].send(event).await;
    }

    /// Hands a datagram to the first shard, or drops it where that has too much to do.
    pub(super) fn send_datagram(&self, event: Event) {
        if self.shards[0].try_send(event).is_err() {
            self.datagrams.drop_one();
        }
    }

    /// Hands an event to every shard.
    pub(super) async fn send_all(&self, event: impl Fn() -> Event) {
        for shard in &self.shards {
            let _ = shard.send(event()).await;
        }
    }
}

/// What is known of the connections to peers, for the status and for logs that tell a change once.
#[derive(Default)]
pub(super) struct Peers(Mutex<BTreeMap<NodeId, Peer>>);

/// A peer, and the link that it is connected by.
struct Peer {
    status: PeerStatus,
    link: Option<LinkId>,
    part: Part,
}

impl Peers {
    /// Keeps what is known of those that take part, or did a moment ago, and begins with those that are new.
    fn set_expected(&self, view: &View) {
        let mut table = self.table();
        table.retain(|node, _| view.peers.contains_key(node));
        for (node, peer) in &view.peers {
            let node = *node;
            let status = PeerStatus { node, connected: false, problem: None };
            table.entry(node).or_insert(Peer { status, link: None, part: peer.part }).part = peer.part;
        }
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<NodeId, Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that are expected, as they are now.
    pub(super) fn statuses(&self) -> Vec<PeerStatus> {
        let table = self.table();
        table.values().filter(|peer| peer.part == Part::Expected).map(|peer| peer.status.clone()).collect()
    }

    /// Notes that there is a connection, by this link.
    pub(super) fn connected(&self, node: NodeId, link: LinkId) {
        if let Some(peer) = self.table().get_mut(&node) {
            peer.status = PeerStatus { node, connected: true, problem: None };
            peer.link = Some(link);
        }
        tracing::info!(peer = %node, "connected to peer");
    }

    /// Notes that there is none, and why.
    fn disconnected(&self, node: NodeId, problem: String) {
        let Some(new) = self.change(node, problem) else { return };
        tracing::warn!(peer = %node, problem = new, "no connection to peer");
    }

    /// Notes that a link has ended. A newer one may have replaced it before: the peer crashed, came back and dialed, and only then
    /// was the loss of its old connection noticed. Then there is a connection, and nothing to note.
    fn link_ended(&self, node: NodeId, link: LinkId, problem: String) {
        let current = self.table().get(&node).is_some_and(|peer| peer.link == Some(link));
        if current {
            self.disconnected(node, problem);
        }
    }

    fn change(&self, node: NodeId, problem: String) -> Option<String> {
        let mut table = self.table();
        let peer = table.get_mut(&node)?;
        let news = peer.status.connected || peer.status.problem.as_ref() != Some(&problem);
        peer.status = PeerStatus { node, connected: false, problem: Some(problem.clone()) };
        peer.link = None;
        // That one which leaves is gone is no trouble.
        (news && peer.part == Part::Expected).then_some(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_end_of_an_old_link_does_not_hide_the_new_one() {
        let node = NodeId::new(2).expect("not 0");
        let status = PeerStatus { node, connected: false, problem: None };
        let peers = Peers::default();
        peers.table().insert(node, Peer { status, link: None, part: Part::Expected });
        let connected = || peers.statuses()[0].connected;
        peers.connected(node, LinkId(1));
        peers.connected(node, LinkId(2));
        peers.link_ended(node, LinkId(1), "lost".to_owned());
        assert!(connected());
        peers.link_ended(node, LinkId(2), "lost".to_owned());
        assert!(!connected());
    }
}
