//! [`Client`]: the way into a cluster, shared by everything an application does with it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::Duration;

use quorate_ring::layout::Layout;
use quorate_ring::wire::{LayoutChange, NodeStatus, Request, Response, RingDescription};
use quorate_ring::{InvalidQuorum, NodeId, Quorum};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::bucket::Bucket;
use crate::builder::{Builder, ask_at, ask_seeds};
use crate::drive::name_of;
use crate::error::{Said, Tried};
use crate::operation::{Observed, Operation};
use crate::peer::{Dialer, Peer, Reach};
use crate::routing::{Router, Target};
use crate::{Error, Time};

/// Up to so many members, all are connected to at once; in a larger cluster each when it is first asked.
const CONNECT_AT_ONCE_MAX: usize = 64;
/// How often the ring is asked for when nothing hints that it changed and nothing is asked.
const REFRESH_INTERVAL: Duration = Duration::from_secs(30);
/// And while the client is in use: a node that leaves answers for a while longer than that, so that nobody notices.
const REFRESH_INTERVAL_IN_USE: Duration = Duration::from_secs(3);
/// How long a connection is kept to a node that has left the ring: what was asked of it is answered.
const PARTING_TIME: Duration = Duration::from_secs(60);
/// Least time between two questions for the ring, whatever hints there are.
const REFRESH_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// A connection to a cluster. Clones share it; the last one dropped, or [`close`](Self::close), ends it.
///
/// It knows the ring, sends each request straight to a node that holds the key, and follows nodes that come and go. See the crate's
/// documentation for a tour.
///
/// ```no_run
/// # async fn run() -> Result<(), quorate_client::Error> {
/// use quorate_client::Client;
///
/// let client = Client::from_env().await?;
/// let photos = client.bucket("photos")?;
/// photos.put("133422131", "a picture").await?;
/// client.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) timeout: Duration,
    begun: Instant,
    seed: AtomicU64,
    router: RwLock<Router>,
    peers: Mutex<BTreeMap<NodeId, Arc<Peer>>>,
    /// Of nodes that have left the ring, with when they are let go of.
    parting: Mutex<Vec<(Instant, Arc<Peer>)>>,
    dialer: Arc<Dialer>,
    /// Where to begin anew when no node of the known ring can be reached any more.
    seeds: Vec<String>,
    closed: AtomicBool,
    /// Whether anything was asked since the ring was last asked for.
    used: AtomicBool,
    /// Whether something happened that a change of the ring may explain.
    hinted: AtomicBool,
    maintenance: Mutex<Option<JoinHandle<()>>>,
}

impl Client {
    /// Begins to describe a client.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A client described by the environment; see [`Builder::from_env`].
    ///
    /// # Errors
    /// As [`Builder::from_env`] and [`Builder::connect`].
    pub async fn from_env() -> Result<Self, Error> {
        Builder::from_env()?.connect().await
    }

    pub(crate) fn start(router: Router, dialer: Arc<Dialer>, seeds: Vec<String>, timeout: Duration) -> Self {
        let inner = Arc::new(Inner {
            timeout,
            begun: Instant::now(),
            // The one place where chance comes in: clients must not all begin with the same primaries and pauses.
            seed: AtomicU64::new(RandomState::new().hash_one("seed")),
            router: RwLock::new(router),
            peers: Mutex::default(),
            parting: Mutex::default(),
            dialer,
            seeds,
            closed: AtomicBool::new(false),
            used: AtomicBool::new(false),
            hinted: AtomicBool::new(false),
            maintenance: Mutex::default(),
        });
        inner.connect_to_members();
        let task = tokio::spawn(maintain(Arc::downgrade(&inner)));
        *inner.maintenance.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        Self { inner }
    }

    /// The bucket with this name. Buckets need not be created.
    ///
    /// # Errors
    /// [`Error::InvalidKey`] if no bucket can be named so.
    pub fn bucket(&self, name: &str) -> Result<Bucket, Error> {
        Bucket::new(self.clone(), name)
    }

    /// Asks any node for the ring. Requests go by it from then on.
    ///
    /// # Errors
    /// Any that a read can have.
    pub async fn ring(&self) -> Result<RingDescription, Error> {
        self.inner.ask_ring().await
    }

    /// The ring that requests go by now, without asking.
    pub fn known_ring(&self) -> RingDescription {
        self.inner.router().description().clone()
    }

    /// How this node is, in its own words.
    ///
    /// # Errors
    /// Any that a read can have. No other node is asked in its place.
    pub async fn status(&self, node: NodeId) -> Result<NodeStatus, Error> {
        match self.inner.run(Request::Status, Target::Node(node), self.inner.timeout).await? {
            Response::Status(status) => Ok(*status),
            other => Err(unexpected("a status", &other)),
        }
    }

    /// How whoever listens at this address (`host:port`) is, in its own words. A node that is to join can only be asked so: it is in no ring
    /// that clients go by before it has received what it is to hold.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if it does not answer in the time that requests have, or refuses to.
    pub async fn status_at(&self, address: &str) -> Result<NodeStatus, Error> {
        self.inner.check_open()?;
        let answer = timeout(self.inner.timeout, ask_at(&self.inner.dialer, address, &Request::Status)).await;
        match answer.unwrap_or(Err(Said::Silent)) {
            Ok(Response::Status(status)) => Ok(*status),
            Ok(other) => Err(unexpected("a status", &other)),
            Err(said) => Err(Error::Unreachable { tried: vec![Tried { whom: address.to_owned(), said }] }),
        }
    }

    /// This node's copy of the layout: who takes part, what is staged, and how far a change is. Copies differ for a moment after a change, and
    /// [`Layout::merge`] makes one of several.
    ///
    /// # Errors
    /// Any that a read can have. No other node is asked in its place.
    pub async fn layout(&self, node: NodeId) -> Result<Layout, Error> {
        match self.inner.run(Request::Layout, Target::Node(node), self.inner.timeout).await? {
            Response::Layout(layout) => Ok(*layout),
            other => Err(unexpected("a layout", &other)),
        }
    }

    /// Changes the layout at this node, and gives its copy with the change. Others hear of it by and by.
    ///
    /// # Errors
    /// Any that a write can have; [`Error::Node`] with why it cannot be changed so. No other node is asked in its place.
    pub async fn change_layout(&self, node: NodeId, change: LayoutChange) -> Result<Layout, Error> {
        match self.inner.run(Request::ChangeLayout(change), Target::Node(node), self.inner.timeout).await? {
            Response::Layout(layout) => Ok(*layout),
            other => Err(unexpected("a layout", &other)),
        }
    }

    /// How each member of the ring is, or why it cannot be asked, by rising id. All are asked at once.
    pub async fn statuses(&self) -> Vec<(NodeId, Result<NodeStatus, Error>)> {
        let nodes: Vec<NodeId> = self.known_ring().members.iter().map(|member| member.node).collect();
        let ask = |node| {
            let client = self.clone();
            (node, tokio::spawn(async move { client.status(node).await }))
        };
        let asked: Vec<_> = nodes.into_iter().map(ask).collect();
        let mut statuses = Vec::with_capacity(asked.len());
        for (node, status) in asked {
            // A task is only lost with the whole runtime.
            statuses.push((node, status.await.unwrap_or(Err(Error::Closed))));
        }
        statuses
    }

    /// Ends all connections, telling the nodes. Requests under way, of clones too, fail; later ones get [`Error::Closed`].
    pub async fn close(&self) {
        self.inner.closed.store(true, Ordering::Relaxed);
        self.inner.stop();
        self.inner.dialer.close().await;
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let router = self.inner.router();
        f.debug_struct("Client")
            .field("cluster", &self.inner.dialer.cluster)
            .field("ring", router.ring())
            .finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn now(&self) -> Time {
        self.time_of(Instant::now())
    }

    pub(crate) fn time_of(&self, instant: Instant) -> Time {
        Time::default() + instant.saturating_duration_since(self.begun)
    }

    pub(crate) fn instant_of(&self, time: Time) -> Instant {
        self.begun + Duration::from_micros(time.as_micros())
    }

    pub(crate) fn next_seed(&self) -> u64 {
        self.seed.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn router(&self) -> RwLockReadGuard<'_, Router> {
        self.router.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Relaxed) { Err(Error::Closed) } else { Ok(()) }
    }

    /// Refuses an R or W that cannot be before anything is sent.
    pub(crate) fn check_quorum(&self, r: Option<u8>, w: Option<u8>) -> Result<(), InvalidQuorum> {
        Quorum::majority(self.router().ring().replicas())?.with(r, w).map(drop)
    }

    pub(crate) fn note_silent(&self, nodes: impl Iterator<Item = NodeId>) {
        let now = self.now();
        for node in nodes {
            self.router.write().unwrap_or_else(PoisonError::into_inner).note_unreachable(node, now);
        }
    }

    pub(crate) fn note_asked(&self, node: NodeId, now: Time, operation: &Operation) {
        let mut router = self.router.write().unwrap_or_else(PoisonError::into_inner);
        router.note_asked(node, now, operation.access(), operation.beside());
    }

    pub(crate) fn note_observed(&self, observed: Vec<Observed>) {
        if observed.is_empty() {
            return; // Most steps: without the lock.
        }
        let now = self.now();
        let mut router = self.router.write().unwrap_or_else(PoisonError::into_inner);
        for Observed { node, took, heard } in observed {
            router.note_took(node, now, took, heard);
        }
    }

    pub(crate) fn note_answered(&self, node: NodeId) {
        if self.router().is_noted(node) {
            self.router.write().unwrap_or_else(PoisonError::into_inner).note_reachable(node);
        }
    }

    /// Something happened that a change of the ring may explain.
    pub(crate) fn hint_refresh(&self) {
        self.hinted.store(true, Ordering::Relaxed);
    }

    /// Something is asked, so that it matters whether the ring is the newest.
    pub(crate) fn note_used(&self, request: &Request) {
        if !matches!(request, Request::Ring) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// The way to a node; begins to connect if nobody has asked for it before. `None` if it is no member.
    pub(crate) fn peer(self: &Arc<Self>, node: NodeId) -> Option<Arc<Peer>> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = peers.get(&node) {
            return Some(peer.clone());
        }
        self.check_open().ok()?;
        let address = self.router().address(node)?.to_owned();
        let client = Arc::downgrade(self);
        let on_change = move |node, reach: &Reach| {
            if let Some(inner) = client.upgrade() {
                inner.handle_reach(node, reach);
            }
        };
        let peer = Arc::new(Peer::start(self.dialer.clone(), node, address, on_change));
        peers.insert(node, peer.clone());
        Some(peer)
    }

    fn handle_reach(&self, node: NodeId, reach: &Reach) {
        let now = self.now();
        let mut router = self.router.write().unwrap_or_else(PoisonError::into_inner);
        if router.address(node).is_none() {
            return; // It has left the ring, which is known.
        }
        match reach {
            Reach::Open(_) => router.note_reachable(node),
            Reach::Down(_) => router.note_unreachable(node, now),
            Reach::Connecting => return,
        }
        drop(router);
        self.hint_refresh(); // A node that left, or came back after changes, shows in the ring.
    }

    /// Whether no member of the known ring can be reached.
    fn all_unreachable(&self) -> bool {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        !peers.values().any(|peer| matches!(peer.reach(), Reach::Open(_)))
    }

    fn connect_to_members(self: &Arc<Self>) {
        let members: Vec<NodeId> = self.router().ring().members().iter().map(|member| member.node).collect();
        if members.len() <= CONNECT_AT_ONCE_MAX {
            members.into_iter().for_each(|node| drop(self.peer(node)));
        }
    }

    async fn ask_ring(self: &Arc<Self>) -> Result<RingDescription, Error> {
        match self.run(Request::Ring, Target::Any, self.timeout).await? {
            Response::Ring(description) => {
                self.adopt(&description)?;
                Ok(description)
            }
            other => Err(unexpected("a ring", &other)),
        }
    }

    /// Asks for the ring where the client began, when all that it has known since are gone or have left.
    async fn ask_seeds(self: &Arc<Self>) -> Result<(), Error> {
        let description = ask_seeds(&self.dialer, &self.seeds, self.timeout).await?;
        self.adopt(&description)
    }

    fn adopt(self: &Arc<Self>, description: &RingDescription) -> Result<(), Error> {
        let changed = self.router.write().unwrap_or_else(PoisonError::into_inner).replace(description.clone())?;
        if changed {
            tracing::info!(members = description.members.len(), "the ring changed");
            let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
            // What was asked of a node that has left is still answered.
            let end = Instant::now() + PARTING_TIME;
            let gone: Vec<NodeId> =
                peers.keys().filter(|node| self.router().address(**node).is_none()).copied().collect();
            let gone = gone.iter().filter_map(|node| peers.remove(node)).map(|peer| (end, peer));
            self.parting.lock().unwrap_or_else(PoisonError::into_inner).extend(gone);
            for (node, peer) in peers.iter() {
                self.router().address(*node).into_iter().for_each(|address| peer.move_to(address));
            }
            drop(peers);
            self.connect_to_members();
        }
        Ok(())
    }

    fn stop(&self) {
        if let Some(task) = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.parting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Keeps the ring up to date until the client is gone. Between its looks it does not hold the client, so that the last clone can go.
async fn maintain(client: Weak<Inner>) {
    let mut refreshed = Instant::now();
    loop {
        sleep(REFRESH_INTERVAL_MIN).await;
        let Some(inner) = client.upgrade() else { return };
        let now = Instant::now();
        inner.parting.lock().unwrap_or_else(PoisonError::into_inner).retain(|(end, _)| now < *end);
        let interval = if inner.used.load(Ordering::Relaxed) { REFRESH_INTERVAL_IN_USE } else { REFRESH_INTERVAL };
        if inner.hinted.swap(false, Ordering::Relaxed) || interval <= refreshed.elapsed() {
            inner.used.store(false, Ordering::Relaxed);
            refreshed = Instant::now();
            let Err(error) = inner.ask_ring().await else { continue };
            tracing::debug!(%error, "cannot refresh the ring");
            if inner.all_unreachable()
                && let Err(error) = inner.ask_seeds().await
            {
                tracing::debug!(%error, "no seed tells the ring either");
            }
        }
    }
}

pub(crate) fn unexpected(wanted: &'static str, got: &Response) -> Error {
    Error::Unexpected { wanted, got: name_of(got) }
}
