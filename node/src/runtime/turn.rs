//! A shard's turns: take what has come, run the core, have the store do the turn's operations as one batch, and send each peer and
//! client one buffer. Batches form by themselves under load, and a lone request waits for nobody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::Connection;
use quorate_ring::NodeId;
use quorate_ring::layout::{Layout, Placement};
use quorate_ring::version::Incarnation;
use quorate_ring::wire::{
    HintStatus, NodeMessage, PeerMessage, Protocol, RequestError, RequestId, Response, SyncStatus,
};
use tokio::sync::mpsc::{Receiver, UnboundedSender};
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep_until;

use super::clock::Clock;
use super::datagrams::Datagrams;
use super::outbox::Outbox;
use crate::membership::Standing;
use crate::shard::{Counters, Progress};
use crate::storage::Storage as _;
use crate::storage::rocks::RocksStorage;
use crate::{Input, Output, SessionId, Shard};

/// Most events taken in one turn, so that a turn's batch and its time stay small.
const EVENTS_MAX: usize = 256;
/// How long a stopping shard finishes what it has begun.
const STOP_DELAY_MAX: Duration = Duration::from_secs(2);

/// What a shard's thread is told.
pub(super) enum Event {
    /// Something for the core.
    Core(Input),
    /// A message on a link to a peer. One of a link that is not the newest is dropped.
    Peer { link: LinkId, from: NodeId, message: PeerMessage },
    /// There is a new link to a peer; an older one is gone with it.
    LinkUp { link: LinkId, peer: NodeId, incarnation: Incarnation, protocol: Protocol, streams: LinkStreams },
    /// A datagram on a link to a peer, for the first shard.
    Datagram { link: LinkId, from: NodeId, datagram: Bytes },
    /// A link is gone.
    LinkDown { link: LinkId, peer: NodeId },
    /// A client's stream is open.
    SessionUp { session: SessionId, outbox: Outbox },
    /// A client's stream is gone.
    SessionDown { session: SessionId },
    /// Somebody asks for figures.
    Report(oneshot::Sender<Figures>),
    /// Finish what was begun, then end.
    Stop,
}

/// One connection to a peer, numbered in the order in which they came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId(pub(super) u64);

/// The ways to a peer.
#[derive(Clone)]
pub(super) struct LinkStreams {
    /// For what a client waits for.
    pub(super) foreground: Outbox,
    /// For pages and repairs, which may be large and wait.
    pub(super) background: Outbox,
    /// For datagrams.
    pub(super) connection: Connection,
}

/// What a shard says of itself.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) counters: Counters,
    pub(super) in_flight: usize,
    pub(super) complete: bool,
    pub(super) sync: SyncStatus,
    pub(super) hints: Vec<HintStatus>,
    /// Whether that is all.
    pub(super) hints_counted: bool,
    /// The least number of a hint made from now on.
    pub(super) hints_mark: u64,
}

/// Something that concerns the whole node.
#[derive(Clone, Debug)]
pub(super) enum Alarm {
    /// The store failed: the node must end.
    StorageFailed(String),
    /// A peer has met incarnations of this node that its store does not remember.
    LossFound { shard: u8, by: NodeId, lost: Vec<Incarnation> },
    /// No peer has met an earlier incarnation of this node.
    Proven,
    /// A shard has all again that it may have lost.
    CaughtUp { shard: u8 },
    /// The node's copy of the layout has changed.
    Layout(Arc<Layout>),
    /// Who holds what from now on, for all shards but the first.
    Placement(Arc<Placement>),
    /// How far a shard has come, for the first.
    Progress { shard: u8, progress: Progress },
    /// What is thought of the peers from now on, for all shards but the first.
    Standings(Arc<BTreeMap<NodeId, Standing>>),
    /// A shard ended by a bug: requests for its partitions would never be answered.
    Panicked,
}

/// A shard and what it is connected to.
pub(super) struct Turns {
    pub(super) shard: Shard,
    pub(super) storage: RocksStorage,
    pub(super) events: Receiver<Event>,
    /// The store wakes the shard with it.
    pub(super) wake: Arc<Notify>,
    pub(super) clock: Clock,
    pub(super) alarms: UnboundedSender<Alarm>,
    pub(super) datagrams: Arc<Datagrams>,
    pub(super) links: BTreeMap<NodeId, (LinkId, LinkStreams)>,
    pub(super) sessions: BTreeMap<SessionId, Outbox>,
    /// Whose outboxes have something to flush.
    pub(super) dirty_sessions: Vec<SessionId>,
    /// The copy of the layout that was told last.
    pub(super) layout_hash: Option<u64>,
    pub(super) stopping: Option<tokio::time::Instant>,
}

impl Drop for Turns {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.alarm(Alarm::Panicked);
        }
    }
}

impl Turns {
    /// Runs turns until told to stop, and everything begun is done or has had its time.
    pub(super) async fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        while !self.is_done() {
            self.wait(&mut events).await;
            self.core(Input::WallClock(Clock::wall()));
            for event in events.drain(..) {
                self.handle(event);
            }
            self.core(Input::Time);
            self.store();
            self.tell_layout();
            self.flush();
        }
    }

    fn is_done(&self) -> bool {
        self.stopping.is_some_and(|end| self.shard.in_flight() == 0 || end <= tokio::time::Instant::now())
    }

    async fn wait(&mut self, events: &mut Vec<Event>) {
        let deadline = self.shard.next_deadline().map(|time| self.clock.instant(time).into());
        let wake_at = deadline.into_iter().chain(self.stopping).min();
        let timer = async {
            match wake_at {
                Some(instant) => sleep_until(instant).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            count = self.events.recv_many(events, EVENTS_MAX) => {
                // The network has let go of the shard: nothing more can come.
                if count == 0 && self.stopping.is_none() {
                    self.stopping = Some(tokio::time::Instant::now() + STOP_DELAY_MAX);
                }
            }
            () = self.wake.notified() => {}
            () = timer => {}
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Core(input) => self.core(input),
            Event::Peer { link, from, message } => {
                if self.links.get(&from).is_some_and(|(newest, _)| *newest == link) {
                    self.core(Input::PeerMessage { from, message });
                }
            }
            Event::Datagram { link, from, datagram } => {
                if self.links.get(&from).is_some_and(|(newest, _)| *newest == link) {
                    self.core(Input::Datagram { from, datagram });
                }
            }
            Event::LinkUp { link, peer, incarnation, protocol, streams } => {
                if self.links.get(&peer).is_some_and(|(newest, _)| link < *newest) {
                    return;
                }
                self.core(Input::PeerDisconnected(peer));
                self.links.insert(peer, (link, streams));
                self.core(Input::PeerConnected { peer, incarnation, protocol });
            }
            Event::LinkDown { link, peer } => self.drop_link(link, peer),
            Event::SessionUp { session, outbox } => {
                self.sessions.insert(session, outbox);
            }
            Event::SessionDown { session } => {
                self.sessions.remove(&session);
            }
            Event::Report(asker) => {
                // Whoever asked may have gone.
                let _ = asker.send(self.figures());
            }
            Event::Stop => self.stopping = Some(tokio::time::Instant::now() + STOP_DELAY_MAX),
        }
    }

    fn figures(&self) -> Figures {
        Figures {
            counters: self.shard.counters(),
            in_flight: self.shard.in_flight(),
            complete: self.shard.replica().is_complete(),
            sync: self.shard.sync_status(self.clock.now()),
            hints: self.shard.hint_statuses(self.clock.now()),
            hints_counted: self.shard.hints_counted(),
            hints_mark: self.shard.hint_sequence(),
        }
    }

    fn drop_link(&mut self, link: LinkId, peer: NodeId) {
        if self.links.get(&peer).is_some_and(|(newest, _)| *newest == link) {
            self.links.remove(&peer);
            self.core(Input::PeerDisconnected(peer));
        }
    }

    fn core(&mut self, input: Input) {
        self.shard.handle(self.clock.now(), input);
        while let Some(output) = self.shard.poll_output() {
            match output {
                Output::SendPeer { to, message } => self.send(to, &message),
                Output::Datagram { to, datagram } => {
                    if let Some((_, streams)) = self.links.get(&to) {
                        self.datagrams.send(&streams.connection, datagram);
                    }
                }
                Output::Reply { session, id, result } => self.reply(session, id, result),
                Output::Store { id, operation } => self.storage.submit(id, operation),
                Output::StorageFailed { reason } => self.alarm(Alarm::StorageFailed(reason)),
                Output::LossFound { by, lost } => self.alarm(Alarm::LossFound { shard: self.shard.number(), by, lost }),
                Output::CaughtUp => self.alarm(Alarm::CaughtUp { shard: self.shard.number() }),
                Output::Proven => self.alarm(Alarm::Proven),
                Output::Placement(placement) => self.alarm(Alarm::Placement(placement)),
                Output::Standings(standings) => self.alarm(Alarm::Standings(standings)),
                Output::Progress(progress) => self.alarm(Alarm::Progress { shard: self.shard.number(), progress }),
            }
        }
    }

    /// Tells the rest of the node when its copy of the layout has changed.
    fn tell_layout(&mut self) {
        let hash = self.shard.layout_hash();
        if hash != self.layout_hash
            && let Some(layout) = self.shard.layout()
        {
            self.layout_hash = hash;
            self.alarm(Alarm::Layout(Arc::new(layout.clone())));
        }
    }

    fn alarm(&self, alarm: Alarm) {
        // Whoever listens lives as long as the node.
        let _ = self.alarms.send(alarm);
    }

    /// Has the store do what was submitted, and the core hear of it, until nothing more is done at once.
    fn store(&mut self) {
        loop {
            self.storage.flush();
            let mut idle = true;
            while let Some((id, result)) = self.storage.poll_completion() {
                idle = false;
                self.core(Input::Completed { id, result });
            }
            if idle {
                break;
            }
        }
    }

    fn send(&mut self, to: NodeId, message: &PeerMessage) {
        let Some((_, streams)) = self.links.get_mut(&to) else { return };
        let background = matches!(
            message,
            PeerMessage::Scan { .. }
                | PeerMessage::ScanReply { .. }
                | PeerMessage::Repair { exchange: None, .. }
                | PeerMessage::Hint(_)
                | PeerMessage::Sync(_)
                | PeerMessage::Scrub(_)
        );
        let outbox = if background { &mut streams.background } else { &mut streams.foreground };
        if let Err(error) = outbox.push(message) {
            tracing::error!(peer = %to, %error, "a message fits no frame and is dropped");
        }
    }

    fn reply(&mut self, session: SessionId, id: RequestId, result: Result<Response, RequestError>) {
        let Some(outbox) = self.sessions.get_mut(&session) else { return };
        if outbox.is_empty() {
            self.dirty_sessions.push(session);
        }
        if let Err(error) = outbox.push(&NodeMessage { id, result }) {
            let reason = format!("the answer is too large for one message: {error}");
            let refusal = NodeMessage { id, result: Err(RequestError::Invalid { reason }) };
            outbox.push(&refusal).expect("a short message fits a frame");
        }
    }

    fn flush(&mut self) {
        for session in self.dirty_sessions.drain(..) {
            let fine = self.sessions.get_mut(&session).is_none_or(Outbox::flush);
            if !fine {
                self.sessions.remove(&session);
            }
        }
        let mut cut = Vec::new();
        for (peer, (link, streams)) in &mut self.links {
            if !(streams.foreground.flush() & streams.background.flush()) {
                cut.push((*link, *peer));
            }
        }
        for (link, peer) in cut {
            self.drop_link(link, peer);
        }
    }
}
