//! A network between nodes that can be cut: each node is reached through a relay of UDP datagrams, which knows who sends by the
//! address it sends from and drops what may not pass. Clients are relayed too, and never cut off.
//!
//! ```text
//! n1 (dials) ──▶ relay of n2 ──▶ n2          one socket of the relay's per sender, so that n2's answers
//!            ◀──             ◀──             find their way back
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::ports;

/// More than any datagram.
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// Relays for the nodes of one cluster. They end when it is dropped.
#[derive(Debug)]
pub struct Network {
    relays: BTreeMap<u32, SocketAddr>,
    links: Arc<Links>,
    _tasks: JoinSet<()>,
}

/// Who is who, and what does not pass.
#[derive(Debug, Default)]
struct Links {
    /// Of the address that a node listens on and dials from, its number.
    nodes: BTreeMap<SocketAddr, u32>,
    /// From whom to whom nothing passes.
    cut: Mutex<BTreeSet<(u32, u32)>>,
    /// Bytes of datagrams that passed between nodes.
    passed: AtomicU64,
}

impl Links {
    /// Whoever is no node may always send.
    fn passes(&self, from: Option<u32>, to: Option<u32>, bytes: usize) -> bool {
        let Some(link) = from.zip(to) else { return true };
        let passes = !self.cut.lock().unwrap_or_else(PoisonError::into_inner).contains(&link);
        if passes {
            self.passed.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        passes
    }
}

impl Network {
    /// Relays to nodes that listen on these addresses.
    ///
    /// # Panics
    /// If there is no port for one, or outside a runtime.
    pub(crate) fn new(nodes: impl IntoIterator<Item = (u32, SocketAddr)>) -> Self {
        let nodes: BTreeMap<SocketAddr, u32> = nodes.into_iter().map(|(number, address)| (address, number)).collect();
        let links = Arc::new(Links { nodes: nodes.clone(), ..Links::default() });
        let mut tasks = JoinSet::new();
        let relays = nodes.into_iter().map(|(address, number)| {
            let relay = ports::free_address();
            let socket = std::net::UdpSocket::bind(relay).expect("it was free a moment ago");
            tasks.spawn(relay_to(Arc::new(into_tokio(socket)), number, address, links.clone()));
            (number, relay)
        });
        Self { relays: relays.collect(), links, _tasks: tasks }
    }

    /// Where a node is reached.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn address(&self, number: u32) -> SocketAddr {
        self.relays[&number]
    }

    /// From now on nothing of what `from` sends reaches `to`. What `to` sends still does.
    pub fn cut_one_way(&self, from: u32, to: u32) {
        self.change(|cut| cut.insert((from, to)));
    }

    /// From now on nothing passes between the nodes of one side and those of the other.
    pub fn split(&self, one: &[u32], other: &[u32]) {
        for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))) {
            self.cut_one_way(a, b);
            self.cut_one_way(b, a);
        }
    }

    /// Everything passes again.
    pub fn heal(&self) {
        self.change(BTreeSet::clear);
    }

    /// Bytes of UDP datagrams that passed between nodes so far, in all directions, without what is below UDP.
    pub fn bytes(&self) -> u64 {
        self.links.passed.load(Ordering::Relaxed)
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeSet<(u32, u32)>) -> T) {
        change(&mut self.links.cut.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn into_tokio(socket: std::net::UdpSocket) -> UdpSocket {
    socket.set_nonblocking(true).and_then(|()| UdpSocket::from_std(socket)).expect("a socket of this process")
}

/// Takes what is sent to a node, and sends it on from a socket of the sender's own.
async fn relay_to(front: Arc<UdpSocket>, to: u32, address: SocketAddr, links: Arc<Links>) {
    let mut senders: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut ways_back = JoinSet::new();
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        // An error is about an earlier datagram that nobody took, which is what a network does.
        let Ok((length, sender)) = front.recv_from(&mut datagram).await else { continue };
        let from = links.nodes.get(&sender).copied();
        if !links.passes(from, Some(to), length) {
            continue;
        }
        let back = senders.entry(sender).or_insert_with(|| {
            let socket = std::net::UdpSocket::bind(("127.0.0.1", 0)).expect("a socket more");
            let back = Arc::new(into_tokio(socket));
            ways_back.spawn(relay_back(back.clone(), front.clone(), (to, from), sender, links.clone()));
            back
        });
        // As above: what cannot be sent is lost.
        let _ = back.send_to(&datagram[..length], address).await;
    }
}

/// Takes what a node answers to one sender.
async fn relay_back(
    back: Arc<UdpSocket>,
    front: Arc<UdpSocket>,
    (node, to): (u32, Option<u32>),
    sender: SocketAddr,
    links: Arc<Links>,
) {
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok((length, _)) = back.recv_from(&mut datagram).await else { continue };
        if links.passes(Some(node), to, length) {
            let _ = front.send_to(&datagram[..length], sender).await;
        }
    }
}
