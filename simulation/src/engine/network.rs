//! How messages travel, and O17: what is decoded is what was encoded.
//!
//! A link joins two nodes. While it is up, what is sent on it arrives, in order, after a drawn delay. When it breaks, what is on its
//! way is gone; each side learns of it in its own time, and what it sends until then is lost too; then the two try to connect
//! again. With [`Carrier::Datagrams`] each message is lost, doubled or delayed on its own, for as long as both processes live;
//! only forwarded writes are never doubled, since nothing but the stream sees to it that a client's write is done once.

use std::time::Duration;

use quorate_node::{Input, Time};
use quorate_ring::NodeId;
use quorate_ring::version::Incarnation;
use quorate_ring::wire::{NodeMessage, PeerMessage, frame};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::event::{Envelope, Event};
use super::{Simulation, node_id};
use crate::oracle::{Oracle, Violation};
use crate::plan::Carrier;
use crate::sometimes::Sometimes;

/// What joins two nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    up: bool,
    /// Counts connections: what was sent on an earlier one is dropped.
    epoch: u32,
    /// How many faults cut it now.
    cuts: u32,
    /// Whether each side, lower index first, has been told that it is up.
    told: [bool; 2],
    /// When the last message of each direction arrives.
    last: [Time; 2],
}

const RECONNECT: Duration = Duration::from_millis(10);

impl Simulation {
    fn link(&mut self, one: usize, other: usize) -> &mut Link {
        assert!(one != other, "a node has no link to itself");
        &mut self.links[one.min(other) * self.plan.nodes as usize + one.max(other)]
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
        let wrong =
            |problem: &dyn std::fmt::Display| Violation::new(Oracle::Codec, format_args!("{problem}: {message:?}"));
        frame::encode(message, &mut self.frame).map_err(|error| wrong(&error))?;
        self.history.update(&self.frame[..frame::HEADER_BYTES]);
        let mut decoder = frame::Decoder::new();
        decoder.push(&self.frame);
        let payload = decoder.next().map_err(|error| wrong(&error))?.ok_or_else(|| wrong(&"the frame is cut"))?;
        let decoded: T = frame::decode(&payload).map_err(|error| wrong(&error))?;
        if decoded != *message || decoder.buffered_bytes() != 0 {
            return Err(wrong(&format_args!("decoded as {decoded:?}")));
        }
        Ok(decoded)
    }

    /// Sends a message from one node to another.
    pub(super) fn send(&mut self, from: usize, to: usize, message: &PeerMessage) -> Result<(), Violation> {
        let message = self.through_the_wire(message)?;
        let lives = [self.nodes[from].life, self.nodes[to].life];
        let now = self.now;
        let delay = self.plan.network.delay.draw("delay", &mut self.network);
        let link = self.link(from, to);
        let epoch = link.epoch;
        if !link.up {
            self.tallies.note(Sometimes::MessageLost);
            return Ok(());
        }
        let last = &mut link.last[usize::from(to < from)];
        let reordered = now + delay < *last;
        let mut at = (now + delay).max(*last);
        *last = at;
        if let (Carrier::Datagrams { lost, duplicated }, false) = (self.plan.network.carrier, self.healed) {
            at = now + delay;
            if self.network.chance("lost", lost) {
                self.tallies.note(Sometimes::MessageLost);
                return Ok(());
            }
            let once = matches!(message, PeerMessage::Forward { .. });
            if !once && self.network.chance("duplicated", duplicated) {
                let late = delay * u32::try_from(self.network.choose("how late", 1..=40)).expect("small");
                let message = message.clone();
                self.queue.push(now + late, Event::Message(Box::new(Envelope { from, to, lives, epoch, message })));
                self.tallies.note(Sometimes::MessageDuplicated);
            }
            if reordered {
                self.tallies.note(Sometimes::MessageReordered);
            }
        }
        self.queue.push(at, Event::Message(Box::new(Envelope { from, to, lives, epoch, message })));
        Ok(())
    }

    /// A message arrives, if its connection is still there.
    pub(super) fn deliver(&mut self, envelope: Envelope) -> Result<(), Violation> {
        let Envelope { from, to, lives, epoch, message } = envelope;
        let alive = lives == [self.nodes[from].life, self.nodes[to].life] && self.nodes[to].process.is_some();
        let streams = self.plan.network.carrier == Carrier::Streams;
        let link = self.link(from, to);
        if !alive || !link.up || streams && link.epoch != epoch {
            self.tallies.note(Sometimes::MessageLost);
            return Ok(());
        }
        self.trace(|| format!("n{} -> n{}: {message:?}", from + 1, to + 1));
        if let PeerMessage::Known { .. } = message {
            return self.for_every_shard(node_id(from), to, &message);
        }
        let shard = self.nodes[to].slices(&self.ring).shard_of_message(&message);
        self.turn(to, usize::from(shard), Input::PeerMessage { from: node_id(from), message })
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
        let mut longest = Duration::ZERO;
        for (node, peer) in [(one, other), (other, one)] {
            let after = self.plan.network.detection.draw("detection", &mut self.network);
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
        if link.up || !running || 0 < link.cuts {
            return;
        }
        if link.told != [false; 2] {
            return self.queue.push(now + RECONNECT, Event::Connect { pair });
        }
        link.up = true;
        link.last = [now; 2];
        for (node, peer) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            let life = self.nodes[node].life;
            let up = self.nodes[peer].process.as_ref().map(|process| process.actor.incarnation);
            self.queue.push(now, Event::PeerTold { node, life, peer, up });
        }
    }

    /// A process learns of a connection.
    pub(super) fn peer_told(&mut self, node: usize, peer: usize, up: Option<Incarnation>) -> Result<(), Violation> {
        self.link(node, peer).told[usize::from(peer < node)] = up.is_some();
        for shard in 0..self.nodes[node].disks.len() {
            let peer = node_id(peer);
            let input = match up {
                Some(incarnation) => Input::PeerConnected { peer, incarnation },
                None => Input::PeerDisconnected(peer),
            };
            self.turn(node, shard, input)?;
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

    /// A fault cuts links.
    pub(super) fn cut(&mut self, pairs: &[[usize; 2]]) {
        for &[one, other] in pairs {
            self.break_link(one, other);
            self.link(one, other).cuts += 1;
        }
    }

    /// A fault that cut links is over.
    pub(super) fn mend(&mut self, pairs: &[[usize; 2]]) {
        for &pair in pairs {
            let link = self.link(pair[0], pair[1]);
            link.cuts = link.cuts.saturating_sub(1);
            self.connect(pair);
        }
    }

    /// All faults that cut links are over.
    pub(super) fn mend_all(&mut self) {
        self.links.iter_mut().for_each(|link| link.cuts = 0);
        self.clients.iter_mut().flat_map(|client| &mut client.links).for_each(|link| link.cuts = 0);
        (0..self.nodes.len()).for_each(|node| self.connect_all(node));
    }

    /// A node answers a client.
    pub(super) fn send_reply(
        &mut self,
        node: usize,
        session: quorate_node::SessionId,
        message: &NodeMessage,
    ) -> Result<(), Violation> {
        let message = Box::new(self.through_the_wire(message)?);
        let delay = self.plan.network.delay.draw("reply's delay", &mut self.network);
        self.queue.push(self.now + delay, Event::Reply { node, session, message });
        Ok(())
    }
}
