//! How messages travel, and O17: what is decoded is what was encoded.
//!
//! While a link is up, what is sent on it arrives, in order, after a drawn delay. When it breaks, what is on its way is gone; each
//! side learns of it in its own time, and what it sends until then is lost too; then the two try to connect again. With
//! [`Carrier::Datagrams`] each message is lost, doubled or delayed on its own, for as long as both processes live; only forwarded
//! writes are never doubled, since nothing but the stream sees to it that a client's write is done once.
//!
//! A stream loses nothing but with its connection. So where a fault makes a single message vanish from one, the connection breaks.

use std::time::Duration;

use quorate_node::shard::split;
use quorate_node::{Input, Time};
use quorate_ring::NodeId;
use quorate_ring::version::Incarnation;
use quorate_ring::wire::{
    HintMessage, LayoutMessage, Likeness, NodeMessage, PeerMessage, Protocol, ScrubMessage, SyncMessage, frame,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::event::{Envelope, Event};
use super::link::Link;
use super::{Phase, Simulation, node_id};
use crate::catalogue::FaultId;
use crate::delay::Shape;
use crate::oracle::{Violation, bounds, codec};
use crate::plan::Carrier;
use crate::plan::fault::{Fault, Layer, MessageKind};
use crate::sometimes::Sometimes;
use crate::story::Ticket;

const RECONNECT: Duration = Duration::from_millis(10);

impl Simulation {
    pub(super) fn link(&mut self, one: usize, other: usize) -> &mut Link {
        assert!(one != other, "a node has no link to itself");
        &mut self.links[one.min(other) * self.nodes.len() + one.max(other)]
    }

    /// Encodes a message as it would be sent, and decodes it as it would be received.
    ///
    /// # Errors
    /// If anything changed on the way.
    pub(super) fn through_the_wire<T>(&mut self, message: &T) -> Result<T, Violation>
    where
        T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        self.frame.clear();
        let decoded = codec::check(message, &mut self.frame)?;
        self.history.update(&self.frame[..frame::HEADER_BYTES]);
        Ok(decoded)
    }

    /// Sends a message from one node to another.
    pub(super) fn send(&mut self, from: usize, to: usize, message: &PeerMessage) -> Result<(), Violation> {
        self.sent += u64::from(!is_floor(message));
        let message = self.through_the_wire(message)?;
        let bytes = self.frame.len() as u64;
        if matches!(message, PeerMessage::Layout(_)) {
            self.members.spread.messages += 1;
            self.members.spread.bytes += bytes;
        }
        let ticket = self.tell_peer(from, to, &message);
        if !self.link(from, to).up {
            self.tell_lost(ticket, "there is no connection");
            self.tallies.note(Sometimes::MessageLost);
            return Ok(());
        }
        if self.is_lost_by_kind(&message) || self.is_corrupted(from, to)? {
            self.tell_lost(ticket, "a fault takes it");
            self.tallies.note(Sometimes::MessageLost);
            self.lose_on(from, to);
            return Ok(());
        }
        let Some(delay) = self.transit(from, to, bytes) else {
            self.fired(FaultId::N13);
            self.tell_lost(ticket, "too much waits for the link");
            self.lose_on(from, to);
            return Ok(());
        };
        self.dispatch(from, to, delay, message, ticket);
        Ok(())
    }

    /// Puts a message on its way.
    fn dispatch(&mut self, from: usize, to: usize, delay: Duration, message: PeerMessage, ticket: Ticket) {
        let lives = [self.nodes[from].life, self.nodes[to].life];
        let now = self.now;
        let datagrams = match self.plan.network.carrier {
            Carrier::Datagrams { lost, duplicated } if self.phase == Phase::Load => Some((lost, duplicated)),
            _ => None,
        };
        let Self { links, nodes, choices, .. } = self;
        let link = &mut links[from.min(to) * nodes.len() + from.max(to)];
        let epoch = link.epoch;
        let way = link.way(from, to);
        let reordered = now + delay < way.last;
        let mut at = (now + delay).max(way.last);
        way.last = at;
        let mut again = None;
        if let Some((lost, duplicated)) = datagrams {
            at = now + delay;
            let stream = way.stream(choices, from, to);
            if stream.chance("lost", lost) {
                self.tallies.note(Sometimes::MessageLost);
                self.tell_lost(ticket, "the network drops it");
                return self.fired(FaultId::N1);
            }
            let once = matches!(message, PeerMessage::Forward { .. });
            if !once && stream.chance("duplicated", duplicated) {
                again = Some(delay * u32::try_from(stream.choose("how late", 1..=40)).expect("small"));
            }
        }
        let way = link.way(from, to);
        way.empty_at = way.empty_at.max(at).max(now + again.unwrap_or_default());
        if way.holds() {
            // A blocked datagram is lost. On a stream it is sent again and again, until the way is free or the connection given up.
            match datagrams {
                Some(_) if 0 < way.blocked => {
                    self.tallies.note(Sometimes::MessageLost);
                    self.tell_lost(ticket, "the way is blocked");
                }
                _ => way.held.push(Envelope { from, to, lives, epoch, message, ticket }),
            }
            return;
        }
        if let Some(late) = again {
            self.tallies.note(Sometimes::MessageDuplicated);
            self.fired.note(FaultId::N2);
            let (message, ticket) = (message.clone(), self.tell_copy(ticket));
            self.queue.push(now + late, Event::Message(Box::new(Envelope { from, to, lives, epoch, message, ticket })));
        }
        if reordered && datagrams.is_some() {
            self.tallies.note(Sometimes::MessageReordered);
            self.fired.note(FaultId::N3);
        }
        self.queue.push(at, Event::Message(Box::new(Envelope { from, to, lives, epoch, message, ticket })));
    }

    /// How long a message takes; `None` if too much waits already.
    fn transit(&mut self, from: usize, to: usize, bytes: u64) -> Option<Duration> {
        let now = self.now;
        let Self { links, nodes, choices, plan, fired, .. } = self;
        let link = &mut links[from.min(to) * nodes.len() + from.max(to)];
        let (slow, narrow) = (link.slow.unwrap_or(1), link.narrow);
        let way = link.way(from, to);
        let mut delay = plan.network.delay.draw("delay", way.stream(choices, from, to)) * slow;
        if !matches!(plan.network.delay.shape, Shape::Constant | Shape::Uniform) {
            fired.note(FaultId::N4);
        }
        if let Some((bytes_per_second, queue_bytes)) = narrow {
            let waits = way.busy_until.since(now);
            if queue_bytes < u64::try_from(waits.as_micros()).unwrap_or(u64::MAX) * bytes_per_second / 1_000_000 {
                return None;
            }
            way.busy_until = way.busy_until.max(now) + Duration::from_micros(bytes * 1_000_000 / bytes_per_second);
            delay += way.busy_until.since(now);
        }
        Some(delay)
    }

    /// Whether a fault takes this message because of its kind.
    fn is_lost_by_kind(&mut self, sent: &PeerMessage) -> bool {
        for index in 0..self.active.len() {
            if let Fault::LoseEach { message, nth } = self.plan.faults[self.active[index]].fault
                && message == kind_of(sent)
            {
                self.counted += 1;
                if self.counted.is_multiple_of(nth) {
                    self.fired(FaultId::N14);
                    return true;
                }
            }
        }
        false
    }

    /// Whether a fault changes the bytes of the frame just encoded. They must be found out, or at least not do any harm.
    fn is_corrupted(&mut self, from: usize, to: usize) -> Result<bool, Violation> {
        let Self { links, nodes, choices, frame, .. } = self;
        let link = &mut links[from.min(to) * nodes.len() + from.max(to)];
        let Some((per_mille, layer)) = link.corrupt else { return Ok(false) };
        let stream = link.way(from, to).stream(choices, from, to);
        if !stream.chance("corrupted", per_mille) {
            return Ok(false);
        }
        let mut bytes = frame.clone();
        let from_byte = if layer == Layer::Frame { 0 } else { frame::HEADER_BYTES };
        let at = from_byte + stream.index("byte", bytes.len() - from_byte);
        bytes[at] ^= 1 << stream.choose("bit", 0..=7);
        self.fired(FaultId::N6);
        match layer {
            Layer::Frame => codec::check_corrupted(&bytes).map(|()| true),
            // Beyond the checksum, all that can be asked is an error or a message, and no panic. The stream is closed either way.
            Layer::Payload => {
                drop(frame::decode::<PeerMessage>(&bytes[frame::HEADER_BYTES..]));
                Ok(true)
            }
        }
    }

    /// A message vanishes from a connection, which breaks if it is a stream.
    fn lose_on(&mut self, from: usize, to: usize) {
        if self.plan.network.carrier == Carrier::Streams {
            self.break_link(from, to);
        }
    }

    /// A message arrives, if its connection is still there.
    pub(super) fn deliver(&mut self, envelope: Envelope) -> Result<(), Violation> {
        let Envelope { from, to, lives, epoch, message, ticket } = envelope;
        let alive = lives == [self.nodes[from].life, self.nodes[to].life] && self.nodes[to].process.is_some();
        let streams = self.plan.network.carrier == Carrier::Streams;
        let link = self.link(from, to);
        if !alive || !link.up || streams && link.epoch != epoch {
            self.tallies.note(Sometimes::MessageLost);
            self.tell_lost(ticket, "its connection is gone");
            return Ok(());
        }
        self.tell_arrived(ticket);
        let own = self.nodes[to].id;
        match &message {
            PeerMessage::Replicate { exchange, key, container, hint_for, .. } => {
                if hint_for.is_none() {
                    self.note_arrived(to, container);
                }
                self.replicas.deliver(own, Some((node_id(from), *exchange)), (*hint_for, key), container);
            }
            PeerMessage::Repair { key, container, .. } => {
                self.note_arrived(to, container);
                self.replicas.deliver(own, None, (None, key), container);
            }
            PeerMessage::Hint(HintMessage::Hand { exchange, hints, .. }) => {
                let asked = Some((node_id(from), *exchange));
                for hint in hints {
                    self.note_arrived(to, &hint.container);
                    self.replicas.deliver(own, asked, (None, &hint.key), &hint.container);
                }
            }
            PeerMessage::Hint(HintMessage::Taken { exchange, result: Ok(taken) }) => {
                self.note_settled(own, node_id(from), *exchange, taken.stored as usize);
            }
            // What a coordinator reads from others may repair its own replica.
            PeerMessage::ReadReply { result: Ok(read), .. } => {
                let key = read.container.values().find_map(|(_, stored)| self.truth.key_of(&stored.value));
                if let Some(key) = key {
                    self.replicas.deliver(own, None, (None, key), &read.container);
                }
            }
            PeerMessage::Sync(message) => self.deliver_sync(own, message),
            PeerMessage::Scrub(message) => self.deliver_scrub(own, message),
            PeerMessage::ScanReply { result: Ok(page), .. } => {
                page.objects
                    .iter()
                    .for_each(|object| self.replicas.deliver(own, None, (None, &object.key), &object.container));
            }
            _ => {}
        }
        if let PeerMessage::Layout(LayoutMessage::Digest { last, .. } | LayoutMessage::Epoch { last }) = &message {
            self.heard_of_epoch(to, *last);
        }
        if let PeerMessage::Layout(message) = &message {
            self.note_layout(from, to, message);
        }
        if split::is_for_every_shard(&message) {
            return self.for_every_shard(node_id(from), to, &message);
        }
        let shard = self.nodes[to].slices(&self.ring).shard_of_message(&message);
        self.turn(to, usize::from(shard), Input::PeerMessage { from: node_id(from), message })
    }

    /// A node is told of the layout, in words that it knows.
    fn note_layout(&mut self, from: usize, to: usize, message: &LayoutMessage) {
        let has_deltas = self.nodes[from].protocol.min(self.nodes[to].protocol).has_layout_deltas();
        match message {
            LayoutMessage::Copy(_) | LayoutMessage::Back(_) => {
                assert!(!has_deltas, "both know deltas, and a whole copy is sent");
                self.tallies.note(Sometimes::LayoutByCopy);
            }
            LayoutMessage::Summary(_) | LayoutMessage::Delta { .. } => {
                assert!(has_deltas, "a node of the first version is sent what it does not know");
                self.tallies.note(Sometimes::LayoutByDelta);
            }
            LayoutMessage::Digest { .. } | LayoutMessage::Epoch { .. } => {}
        }
    }

    /// A replica is sent what it lacks.
    fn deliver_sync(&mut self, own: NodeId, message: &SyncMessage) {
        match message {
            SyncMessage::Fetched { pieces, .. } => {
                for object in pieces.iter().flat_map(|piece| &piece.objects) {
                    self.tallies.note(Sometimes::CaughtUpOnKey);
                    self.replicas.deliver(own, None, (None, &object.key), &object.container);
                }
            }
            SyncMessage::Transferred { page: Ok(page), .. } => {
                self.tallies.note(Sometimes::PartitionTransferred);
                if !page.last {
                    self.tallies.note(Sometimes::TransferOfPages);
                }
                page.objects
                    .iter()
                    .for_each(|object| self.replicas.deliver(own, None, (None, &object.key), &object.container));
            }
            SyncMessage::Compared { hashes: None, .. } => self.tallies.note(Sometimes::ClocksSame),
            _ => {}
        }
    }

    /// A replica is sent what it may mend its own with.
    fn deliver_scrub(&mut self, own: NodeId, message: &ScrubMessage) {
        match message {
            ScrubMessage::Held { result: Ok(held), .. } => {
                let key = held.container.values().find_map(|(_, stored)| self.truth.key_of(&stored.value));
                if let Some(key) = key {
                    self.replicas.deliver(own, None, (None, key), &held.container);
                }
            }
            ScrubMessage::Fetched { objects: Ok(objects), .. } => {
                let objects = objects.0.iter();
                objects.for_each(|object| self.replicas.deliver(own, None, (None, &object.key), &object.container));
            }
            ScrubMessage::Share { key, container, .. } => {
                self.replicas.deliver(own, None, (None, key), container);
            }
            _ => {}
        }
    }

    fn for_every_shard(&mut self, from: NodeId, to: usize, message: &PeerMessage) -> Result<(), Violation> {
        let mut shards = 0..self.nodes[to].disks.len();
        shards.try_for_each(|shard| self.turn(to, shard, Input::PeerMessage { from, message: message.clone() }))
    }

    /// The connection between two nodes breaks, if there is one.
    pub(super) fn break_link(&mut self, one: usize, other: usize) {
        let pair = [one.min(other), one.max(other)];
        let link = self.link(one, other);
        if !link.up {
            return;
        }
        link.up = false;
        link.epoch += 1;
        let held: Vec<Envelope> = link.ways.iter_mut().flat_map(|way| std::mem::take(&mut way.held)).collect();
        held.iter().for_each(|envelope| self.tell_lost(envelope.ticket, "its connection is gone"));
        let mut longest = Duration::ZERO;
        for (node, peer) in [(one, other), (other, one)] {
            let Self { links, nodes, choices, plan, .. } = self;
            let way = links[pair[0] * nodes.len() + pair[1]].way(peer, node);
            let after = plan.network.detection.draw("detection", way.stream(choices, peer, node));
            longest = longest.max(after);
            if self.nodes[node].process.is_none() {
                continue;
            }
            let life = self.nodes[node].life;
            self.queue.push(self.now + after, Event::PeerTold { node, life, peer, up: None });
        }
        self.queue.push(self.now + longest + RECONNECT, Event::Connect { pair });
    }

    /// Two nodes connect, if they can; if one has still to learn that the last connection is gone, they try again.
    pub(super) fn connect(&mut self, pair: [usize; 2]) {
        let running = pair.iter().all(|node| self.nodes[*node].process.is_some());
        let now = self.now;
        let link = self.link(pair[0], pair[1]);
        let blocked = link.ways.iter().any(|way| 0 < way.blocked);
        if link.up || !running || 0 < link.cuts || blocked {
            return;
        }
        if link.told != [false; 2] {
            return self.queue.push(now + RECONNECT, Event::Connect { pair });
        }
        (link.up, link.told) = (true, [true; 2]);
        link.ways.iter_mut().for_each(|way| (way.last, way.busy_until) = (now, now));
        for (node, peer) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            let life = self.nodes[node].life;
            let protocol = self.nodes[node].protocol.min(self.nodes[peer].protocol);
            let up = self.nodes[peer].process.as_ref().map(|process| (process.actor.incarnation, protocol));
            self.queue.push(now, Event::PeerTold { node, life, peer, up });
        }
    }

    /// A process learns of a connection.
    pub(super) fn peer_told(
        &mut self,
        node: usize,
        peer: usize,
        up: Option<(Incarnation, Protocol)>,
    ) -> Result<(), Violation> {
        if up.is_none() {
            self.link(node, peer).told[usize::from(peer < node)] = false;
        }
        for shard in 0..self.nodes[node].disks.len() {
            let peer = node_id(peer);
            let input = match up {
                Some((incarnation, protocol)) => Input::PeerConnected { peer, incarnation, protocol },
                None => Input::PeerDisconnected(peer),
            };
            self.turn(node, shard, input)?;
            let machine = &self.nodes[node];
            if let (None, Some(process)) = (up, &machine.process) {
                bounds::check_disconnected(machine.id, &process.shards[shard], peer)?;
            }
        }
        Ok(())
    }

    /// A process has died: its connections break, and it knows of none.
    pub(super) fn disconnect_all(&mut self, node: usize) {
        for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
            self.break_link(node, peer);
            self.link(node, peer).told[usize::from(peer < node)] = false;
        }
    }

    /// A process has started: its peers and it connect.
    pub(super) fn connect_all(&mut self, node: usize) {
        for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
            self.connect([node.min(peer), node.max(peer)]);
        }
    }

    /// What waited on a way comes all at once, in order.
    pub(super) fn release(&mut self, from: usize, to: usize) {
        let at = self.now;
        let way = self.link(from, to).way(from, to);
        if way.holds() {
            return;
        }
        way.last = way.last.max(at);
        let at = way.last;
        way.empty_at = way.empty_at.max(at);
        for envelope in std::mem::take(&mut way.held) {
            self.queue.push(at, Event::Message(Box::new(envelope)));
        }
    }

    /// A connection on which nothing has come through one way for long is given up by both sides.
    pub(super) fn give_up(&mut self, from: usize, to: usize, epoch: u32) {
        let link = self.link(from, to);
        if link.epoch == epoch && 0 < link.way(from, to).blocked {
            self.break_link(from, to);
        }
    }

    /// A node answers a client.
    pub(super) fn send_reply(
        &mut self,
        node: usize,
        session: quorate_node::SessionId,
        message: &NodeMessage,
    ) -> Result<(), Violation> {
        let message = Box::new(self.through_the_wire(message)?);
        let (client, _) = crate::client::client_of(session);
        let ticket = self.tell_reply(node, client, &message);
        let actor = &mut self.clients[client];
        let delay = self.plan.network.delay.draw("reply's delay", &mut actor.stream);
        if 0 < actor.links[node].mute {
            self.fired(FaultId::L2);
            self.tell_lost(ticket, "a fault takes it");
            return Ok(());
        }
        self.queue.push(self.now + delay, Event::Reply { node, session, message, ticket });
        Ok(())
    }

    /// When nothing that was sent is on its way any more.
    pub(super) fn last_arrival(&self) -> Time {
        self.links.iter().flat_map(|link| &link.ways).map(|way| way.empty_at).max().unwrap_or_default()
    }
}

/// What is said every few seconds when there is nothing to do.
fn is_floor(message: &PeerMessage) -> bool {
    matches!(
        message,
        PeerMessage::Sync(SyncMessage::Compare { .. } | SyncMessage::Compared { hashes: None, .. })
            | PeerMessage::Scrub(ScrubMessage::Compare { .. } | ScrubMessage::Compared { outcome: Likeness::Same, .. })
            | PeerMessage::Layout(LayoutMessage::Digest { .. })
    )
}

fn kind_of(message: &PeerMessage) -> MessageKind {
    match message {
        PeerMessage::Read { .. } | PeerMessage::Scan { .. } => MessageKind::Read,
        PeerMessage::ReadReply { .. } | PeerMessage::ScanReply { .. } => MessageKind::ReadReply,
        PeerMessage::Replicate { .. } => MessageKind::Replicate,
        PeerMessage::ReplicateReply { .. } => MessageKind::ReplicateReply,
        PeerMessage::Repair { .. } => MessageKind::Repair,
        PeerMessage::Forward { .. } => MessageKind::Forward,
        PeerMessage::ForwardReply { .. } => MessageKind::ForwardReply,
        PeerMessage::Known { .. } | PeerMessage::Layout(_) => MessageKind::Known,
        PeerMessage::Hint(HintMessage::Hand { .. }) => MessageKind::Hint,
        PeerMessage::Hint(HintMessage::Taken { .. }) => MessageKind::HintReply,
        PeerMessage::Sync(_) | PeerMessage::Scrub(_) => MessageKind::Sync,
    }
}
