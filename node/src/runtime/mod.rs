//! Everything of a node that does I/O: its configuration, sockets, threads and storage.
//!
//! ```text
//!                       ┌────────────── one thread: sockets, and shard 0 ──────────────┐
//!  peers, clients ──UDP─┤ quinn ─▶ link / session ─events─▶ turns ─▶ Shard, RocksDB    │
//!                       │   ▲──────────── outbox ◀───────────┘                        │
//!                       └──────────────────────────────────────────────────────────────┘
//!                         events ─▶ one more thread for each further shard
//! ```
//!
//! [`run`] opens the data directory, judges the start, binds the socket, and runs until SIGTERM or SIGINT; then it finishes what
//! clients wait for, syncs, and leaves the marker of a clean stop. Being killed at any point is safe.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the border of I/O")]

mod accept;
mod clock;
pub mod config;
pub mod data_directory;
mod datagrams;
mod error;
mod join;
mod link;
mod metrics;
mod outbox;
mod session;
mod shared;
mod status;
mod traffic;
mod turn;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use quinn::Endpoint;
use quorate_client::transport::{Credentials, node_server_name, quic};
use quorate_ring::NodeId;
use quorate_ring::layout::{Layout, Placement, Role};
use quorate_ring::version::{Actor, ContextKey, Incarnation};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};

use self::clock::Clock;
use self::config::MemberConfig;
pub use self::config::NodeConfig;
use self::data_directory::{DataDirectory, RING_UNKNOWN, random};
use self::datagrams::Datagrams;
pub use self::error::RunError;
use self::shared::{Parts, Shared};
pub use self::status::cpu_micros;
use self::turn::{Alarm, Event, Turns};
use self::view::View;
use crate::handoff::hint::bounds::HintBounds;
use crate::membership::Pace;
use crate::replica::Recovered;
use crate::scrub::ScrubPace;
use crate::shard::split::Slices;
use crate::start::{Expected, Forced, Standing, Verdict};
use crate::storage::rocks::{RocksOptions, RocksStore};
use crate::{Input, Shard, ShardConfig};

/// Most events that wait for one shard; whoever has one more waits, and with it the stream it came on.
const EVENTS_MAX: usize = 4096;
/// Beside the block cache, all shards together have this part of its size for single objects that are read often.
const HOT_SHARE: usize = 4;
/// How long a node that takes no part any more is still heard: so it learns of that itself, and sends clients on that have not.
const PARTING_TIME: Duration = Duration::from_secs(30);
/// How long answers may take to reach the network when the node ends.
const FAREWELL_TIME: Duration = Duration::from_millis(500);

/// A node that has begun to serve.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Where it listens.
    pub listen: std::net::SocketAddr,
    /// How its start was judged.
    pub verdict: Verdict,
}

/// Runs a node until it is told to stop by SIGTERM or SIGINT. `on_ready` is called once it serves.
///
/// # Errors
/// [`RunError`]: why it could not start, or what ended it.
pub fn run(config: &NodeConfig, forced: Forced, on_ready: impl FnOnce(&Ready)) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| RunError::Thread { source })?;
    runtime.block_on(serve(config, forced, on_ready))
}

async fn serve(config: &NodeConfig, forced: Forced, on_ready: impl FnOnce(&Ready)) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|source| RunError::Thread { source })?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|source| RunError::Thread { source })?;
    let credentials = Credentials::load(&config.ca, &config.certificate, &config.key)?;
    credentials.check_name(&node_server_name(&config.cluster.name, config.node))?;
    // A node that joins learns from the others what the cluster began with.
    let founding = if config.cluster.join.is_empty() { Some(founding(config)?) } else { None };
    warn_of_quorum(config);
    let endpoint = quic::endpoint(config.listen, Some(credentials.server_config(None)))
        .map_err(|source| RunError::Bind { address: config.listen, source })?;
    let metrics = match config.metrics {
        Some(address) => Some(metrics::listen(address).await?),
        None => None,
    };
    let first_ring = founding.as_ref().map_or(RING_UNKNOWN, |founding| founding.last().ring.fingerprint());
    let mut directory = open(config, first_ring, forced)?;
    let verdict = directory.verdict.clone();
    let layout = match (directory.recovered.layout.take(), &founding) {
        (Some(layout), _) => layout,
        (None, Some(founding)) => founding.clone(),
        (None, None) => {
            let finding = join::find(config, &credentials, &endpoint, verdict.incarnation);
            let found = tokio::select! {
                found = finding => found?,
                _ = terminate.recv() => return Ok(directory.close()?),
                _ = interrupt.recv() => return Ok(directory.close()?),
            };
            directory.remember_first_ring(found.first_ring)?;
            found.layout
        }
    };
    check_layout(config, founding.as_ref(), &layout)?;
    let (mut node, mut alarms) = Node::start(config, credentials, layout, directory, endpoint.clone())?;
    let ready = Ready { listen: endpoint.local_addr().unwrap_or(config.listen), verdict };
    if let Some(listener) = metrics {
        tokio::spawn(metrics::serve(node.shared.clone(), listener));
    }
    tracing::info!(node = %config.node, listen = %ready.listen, start = ?ready.verdict.kind, incarnation = %ready.verdict.incarnation, "serving");
    on_ready(&ready);
    let ended = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            Some(alarm) = alarms.recv() => match alarm {
                Alarm::StorageFailed(reason) => {
                    tracing::error!(reason, "the store failed: the node stops");
                    break Err(RunError::of_storage(reason));
                }
                Alarm::LossFound { shard, by, lost } => node.loss_found(shard, by, &lost)?,
                Alarm::Panicked => break Err(RunError::Panicked),
                Alarm::CaughtUp { shard } => node.caught_up(shard)?,
                Alarm::Proven => node.directory.remember_standing(Standing::Proven)?,
                Alarm::Layout(layout) => node.go_by(layout),
                Alarm::Placement(placement) => {
                    for shard in 1..node.shared.shard_count() {
                        node.shared.send(shard, Event::Core(Input::Placement(placement.clone()))).await;
                    }
                }
                Alarm::Standings(standings) => {
                    node.shared.datagrams.set_standings(standings.clone());
                    for shard in 1..node.shared.shard_count() {
                        node.shared.send(shard, Event::Core(Input::Standings(standings.clone()))).await;
                    }
                }
                Alarm::Progress { shard, progress } => {
                    node.shared.send(0, Event::Core(Input::Progress { shard, progress })).await;
                }
            },
            () = node.next_parted() => node.forget_parted(),
        }
    };
    node.stop(endpoint, ended).await
}

/// A cluster may be meant so; one that is not should hear of it before its users do.
fn warn_of_quorum(config: &NodeConfig) {
    let quorum = config.cluster.quorum;
    if !quorum.reads_own_writes() {
        tracing::warn!(
            replicas = quorum.n(),
            read_quorum = quorum.r(),
            write_quorum = quorum.w(),
            "reads may miss acknowledged writes: read_quorum + write_quorum is not more than replicas"
        );
    }
}

/// The layout of a cluster that begins with the configured members. Every node computes the same.
fn founding(config: &NodeConfig) -> Result<Layout, RunError> {
    let role = |member: &MemberConfig| Role {
        address: member.address.clone(),
        zone: member.zone.clone(),
        capacity: member.capacity,
    };
    let cluster = &config.cluster;
    let roles = cluster.members.iter().map(|member| (member.node, role(member))).collect();
    let layout = Layout::new(cluster.partitions, cluster.quorum.n(), roles);
    layout.map_err(|error| RunError::Ring { reason: error.to_string() })
}

/// What is stored outranks the configuration, but for what can never change.
fn check_layout(config: &NodeConfig, founding: Option<&Layout>, layout: &Layout) -> Result<(), RunError> {
    let (found, wanted) = (layout.last().ring.partitions(), config.cluster.partitions);
    if found != wanted {
        return Err(RunError::Partitions { found, wanted });
    }
    let (found, wanted) = (layout.last().ring.replicas(), config.cluster.quorum.n());
    if found != wanted {
        return Err(RunError::Replicas { found, wanted });
    }
    if founding.is_some_and(|founding| founding.last().ring.members() != layout.last().ring.members()) {
        tracing::info!(
            epoch = layout.last().number(),
            members = layout.last().ring.members().len(),
            "the members have changed since the cluster began: the node goes by what it has stored, not by the configuration's list"
        );
    }
    Ok(())
}

fn open(config: &NodeConfig, first_ring: u64, forced: Forced) -> Result<DataDirectory, RunError> {
    let expected = Expected {
        cluster: config.cluster.name.clone(),
        node: config.node,
        partitions: config.cluster.partitions,
        ring: first_ring,
    };
    let options = RocksOptions {
        cache_bytes: config.cache_bytes.get(),
        hot_bytes: config.cache_bytes.get() / HOT_SHARE / usize::from(config.shards.get()),
        memtable_bytes: memtable_bytes(config.node),
        sync_interval: config.sync_interval,
        ..RocksOptions::default()
    };
    Ok(DataDirectory::open(&config.data, expected, &options, forced)?)
}

/// Replicas are written the same. With memtables of one size all nodes would write theirs out at the same moments, and compact at the same
/// moments, and no quorum would be without one that does. So each has between three quarters of the usual size and all of it, and neighbours
/// in number are far apart: the fractions of multiples of the golden ratio (Knuth: "The Art of Computer Programming", volume 3, section 6.4).
fn memtable_bytes(node: NodeId) -> usize {
    const GOLDEN: u32 = 0x9e37_79b9; // Of 2³².
    let most = RocksOptions::default().memtable_bytes;
    let fraction = u64::from(node.number().wrapping_mul(GOLDEN));
    most - usize::try_from((most as u64 / 4 * fraction) >> 32).expect("less than a quarter of it")
}

/// A node that serves.
struct Node {
    shared: Arc<Shared>,
    directory: DataDirectory,
    endpoint: Endpoint,
    /// What keeps a link to each peer that this node dials.
    links: BTreeMap<NodeId, tokio::task::JoinHandle<()>>,
    /// Who takes no part any more, where it is reached, and until when it is still heard.
    parting: BTreeMap<NodeId, (String, tokio::time::Instant)>,
    /// The shards that have all again that they may have lost.
    caught_up: BTreeSet<u8>,
    /// Whether that something was lost is told already: each shard finds it for itself, and by several peers.
    loss_told: bool,
    first: tokio::task::JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
}

/// A shard's end of the channels between it and the rest of the node.
struct ShardPlan {
    config: ShardConfig,
    placement: Arc<Placement>,
    recovered: Recovered,
    store: Arc<RocksStore>,
    clock: Clock,
    alarms: UnboundedSender<Alarm>,
    datagrams: Arc<Datagrams>,
}

impl Node {
    fn start(
        config: &NodeConfig,
        credentials: Credentials,
        layout: Layout,
        mut directory: DataDirectory,
        endpoint: Endpoint,
    ) -> Result<(Self, UnboundedReceiver<Alarm>), RunError> {
        let clock = Clock::start();
        let datagrams = Arc::new(Datagrams::default());
        let (alarms, alarms_receiver) = unbounded_channel();
        let count = u8::try_from(config.shards.get()).unwrap_or(u8::MAX);
        let slices = Slices::new(layout.last().ring.partitions(), count);
        let view = View::new(config.node, &config.cluster.name, Arc::new(layout.clone()), std::iter::empty());
        let mut recovered = deal(std::mem::take(&mut directory.recovered), slices, count);
        recovered[0].layout = Some(layout);
        let (mut shards, mut turns) = (Vec::new(), Vec::new());
        for (shard, recovered) in (0..count).zip(recovered) {
            let plan = ShardPlan {
                config: shard_config(config, &directory.verdict, shard, count)?,
                placement: view.placement.clone(),
                recovered,
                store: directory.store.clone(),
                clock,
                alarms: alarms.clone(),
                datagrams: datagrams.clone(),
            };
            let (sender, shard_turns) = plan.turns();
            shards.push(sender);
            turns.push(shard_turns);
        }
        let others = turns.split_off(1).into_iter().map(on_own_thread).collect::<Result<_, _>>()?;
        let first = tokio::spawn(turns.remove(0).run());
        let shared = Arc::new(Shared::new(Parts {
            node: config.node,
            cluster: config.cluster.name.clone(),
            secret: context_key(config).fingerprint(),
            verdict: directory.verdict.clone(),
            first_ring: directory.first_ring(),
            view,
            credentials,
            slices,
            shards,
            store: directory.store.clone(),
            clock,
            datagrams,
        }));
        tokio::spawn(accept::accept(shared.clone(), endpoint.clone()));
        let mut node = Self {
            shared,
            directory,
            endpoint,
            links: BTreeMap::new(),
            parting: BTreeMap::new(),
            caught_up: BTreeSet::new(),
            loss_told: false,
            first,
            others,
        };
        if !node.shared.view().takes_part(config.node) {
            tracing::info!(node = %config.node, "no member yet: `quorate cluster join` makes it one");
        }
        node.keep_links();
        Ok((node, alarms_receiver))
    }

    /// The copy of the layout has changed.
    fn go_by(&mut self, layout: Arc<Layout>) {
        let before = self.shared.view();
        let view = self.view_of(layout);
        let end = tokio::time::Instant::now() + PARTING_TIME;
        for (node, peer) in &before.peers {
            if view.takes_part(*node) {
                self.parting.remove(node);
            } else {
                self.parting.entry(*node).or_insert_with(|| (peer.address.clone(), end));
            }
        }
        if view.placement.epochs() != before.placement.epochs() {
            let live: Vec<u64> = view.placement.epochs().iter().map(|epoch| epoch.number).collect();
            tracing::info!(?live, members = view.placement.last().members().len(), "epochs of the ring");
        }
        if view.takes_part(self.shared.node) != before.takes_part(self.shared.node) {
            match view.takes_part(self.shared.node) {
                true => tracing::info!("this node is to take part in the cluster"),
                false => tracing::info!("this node takes no part in the cluster any more: it can be stopped"),
            }
        }
        let view = self.view_of(view.layout);
        self.shared.set_view(view);
        self.keep_links();
    }

    fn view_of(&self, layout: Arc<Layout>) -> View {
        let parting = self.parting.iter().map(|(node, (address, _))| (*node, address.clone()));
        View::new(self.shared.node, &self.shared.cluster, layout, parting)
    }

    /// Returns when somebody has been heard long enough.
    async fn next_parted(&self) {
        match self.parting.values().map(|(_, end)| *end).min() {
            Some(end) => tokio::time::sleep_until(end).await,
            None => std::future::pending().await,
        }
    }

    fn forget_parted(&mut self) {
        let now = tokio::time::Instant::now();
        self.parting.retain(|_, (_, end)| now < *end);
        let view = self.view_of(self.shared.view().layout.clone());
        self.shared.set_view(view);
    }

    /// Dials whoever is to be dialed and is not yet. Who takes no part any more is let go of by its link itself.
    fn keep_links(&mut self) {
        self.links.retain(|_, link| !link.is_finished());
        let view = self.shared.view();
        for peer in view.peers.keys().filter(|peer| self.shared.node < **peer) {
            let keep = || tokio::spawn(link::keep(self.shared.clone(), self.endpoint.clone(), *peer));
            self.links.entry(*peer).or_insert_with(keep);
        }
    }

    /// A peer has met incarnations of this node that its store does not remember; or the shard itself has found that it was set back.
    fn loss_found(&mut self, shard: u8, by: NodeId, lost: &[Incarnation]) -> Result<(), RunError> {
        let told = std::mem::replace(&mut self.loss_told, true);
        // One that was set back stops, and its last word says why.
        if !told && !lost.is_empty() {
            tracing::error!(
                peer = %by, ?lost,
                "this store was emptied or set back: a peer knows an incarnation of this node that it does not; reads do not count on it"
            );
        }
        self.caught_up.remove(&shard);
        Ok(self.directory.remember_loss(lost)?)
    }

    /// A shard has all again that it may have lost. When all have, that is remembered.
    fn caught_up(&mut self, shard: u8) -> Result<(), RunError> {
        self.caught_up.insert(shard);
        if self.caught_up.len() < self.shared.shards.len() {
            return Ok(());
        }
        self.loss_told = false;
        tracing::info!("caught up with all peers: reads count on this node again");
        Ok(self.directory.remember_standing(Standing::Proven)?)
    }

    /// Finishes what was begun, says goodbye, and leaves the directory so that the next start can prove that nothing was lost
    /// (unless the store failed).
    async fn stop(self, endpoint: Endpoint, ended: Result<(), RunError>) -> Result<(), RunError> {
        tracing::info!("stopping");
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.send_all(|| Event::Stop).await;
        // A shard that panicked has poisoned nothing on disk, but its end is not a clean one.
        let mut clean = self.first.await.is_ok();
        for thread in self.others {
            clean &= tokio::task::spawn_blocking(move || thread.join()).await.is_ok_and(|joined| joined.is_ok());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        endpoint.close(0_u32.into(), b"stopping");
        let _ = tokio::time::timeout(FAREWELL_TIME, endpoint.wait_idle()).await;
        if self.shared.store.sync_failed() {
            self.directory.doubt()?;
        }
        ended?;
        if !clean {
            return Err(RunError::Panicked);
        }
        self.directory.close()?;
        tracing::info!("stopped");
        Ok(())
    }
}

impl ShardPlan {
    fn turns(self) -> (Sender<Event>, Turns) {
        let wake = Arc::new(Notify::new());
        let waker = wake.clone();
        let storage = self.store.handle(Arc::new(move || waker.notify_one()));
        let (sender, events) = channel(EVENTS_MAX);
        let turns = Turns {
            shard: Shard::new(self.config, self.placement, self.recovered),
            storage,
            events,
            wake,
            clock: self.clock,
            alarms: self.alarms,
            datagrams: self.datagrams,
            links: BTreeMap::new(),
            sessions: BTreeMap::new(),
            dirty_sessions: Vec::new(),
            layout_hash: None,
            stopping: None,
        };
        (sender, turns)
    }
}

/// Deals what the store remembers to the shards: clocks to those that hold the partitions, the peers to the first.
fn deal(recovered: Recovered, slices: Slices, count: u8) -> Vec<Recovered> {
    let mut dealt = vec![Recovered::default(); usize::from(count)];
    dealt[0].known = recovered.known;
    for (partition, clock) in recovered.clocks {
        dealt[usize::from(slices.shard_of(partition))].clocks.insert(partition, clock);
    }
    for (partition, tenure) in recovered.tenures {
        dealt[usize::from(slices.shard_of(partition))].tenures.insert(partition, tenure);
    }
    dealt
}

fn context_key(config: &NodeConfig) -> ContextKey {
    ContextKey::derive(config.cluster.secret.as_bytes(), &config.cluster.name)
}

fn shard_config(config: &NodeConfig, verdict: &Verdict, shard: u8, shards: u8) -> Result<ShardConfig, RunError> {
    Ok(ShardConfig {
        actor: Actor { node: config.node, incarnation: verdict.incarnation },
        quorum: config.cluster.quorum,
        durability: config.cluster.durability,
        context_key: context_key(config),
        shard,
        shards,
        ancestors: verdict.ancestors.iter().copied().collect(),
        scrub: Some(ScrubPace { pause: config.scrub_pause, round: config.scrub_round, ..ScrubPace::default() }),
        standing: verdict.standing,
        seed: random()?,
        wall: Clock::wall(),
        hints: HintBounds::default(),
        exchange_interval: config.exchange_interval,
        transfer_page: crate::limits::TRANSFER_PAGE,
        pace: Pace::default(),
    })
}

/// Runs a shard on a thread of its own.
fn on_own_thread(turns: Turns) -> Result<JoinHandle<()>, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|source| RunError::Thread { source })?;
    let thread = std::thread::Builder::new().name("shard".to_owned());
    thread.spawn(move || runtime.block_on(turns.run())).map_err(|source| RunError::Thread { source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_write_out_at_other_moments() {
        let usual = RocksOptions::default().memtable_bytes;
        let sizes: Vec<usize> = (1..=100).map(|node| memtable_bytes(NodeId::new(node).expect("not 0"))).collect();
        assert!(sizes.iter().all(|size| (usual / 4 * 3..=usual).contains(size)));
        for neighbours in sizes.windows(3) {
            let (one, next, other) = (neighbours[0], neighbours[1], neighbours[2]);
            for (one, other) in [(one, next), (next, other), (one, other)] {
                assert!(usual / 4 / 5 < one.abs_diff(other), "{neighbours:?}");
            }
        }
    }
}
