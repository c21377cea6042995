//! Driving the clients: their requests out, replies and losses in, by the production client's rules.

use std::time::Duration;

use bytes::Bytes;
use quorate_client::operation::{Fate as Lost, Step};
use quorate_client::{ConnectProblem, Error};
use quorate_node::SessionId;
use quorate_ring::Position;
use quorate_ring::wire::{ClientMessage, NodeMessage, RequestId, Response};

use super::event::Event;
use super::{Simulation, index_of, node_id};
use crate::client::{Task, client_of, session};
use crate::oracle::truth::WriteId;
use crate::oracle::{Violation, dots, honesty};
use crate::sometimes::Sometimes;

impl Simulation {
    /// A client does what its operation says, or begins the next one.
    pub(super) fn drive(&mut self, client: usize) -> Result<(), Violation> {
        loop {
            let now = self.now;
            let actor = &mut self.clients[client];
            let Some(doing) = &mut actor.doing else { return Ok(()) };
            let step = doing.operation.next_step(&actor.router, now);
            for seen in doing.operation.take_observed() {
                actor.router.note_took(seen.node, now, seen.took, seen.heard);
            }
            match step {
                Step::Send { attempt, to, timeout_millis, connect_within } => {
                    let request = RequestId(actor.requests);
                    actor.requests += 1;
                    if !doing.sent.is_empty() {
                        self.tallies.note(Sometimes::Retried);
                    }
                    actor.router.note_asked(to, now, doing.operation.access(), doing.operation.beside());
                    doing.sent.push((request, attempt, index_of(to)));
                    let message =
                        ClientMessage { id: request, timeout_millis, request: doing.operation.request().clone() };
                    self.send_request(client, index_of(to), &message, connect_within)?;
                }
                Step::WaitUntil(time) => {
                    let doing = doing.number;
                    self.queue.push(time.max(self.now), Event::ClientWake { client, doing });
                    return Ok(());
                }
                Step::Done(result) => {
                    let Some(doing) = self.clients[client].doing.take() else { return Ok(()) };
                    self.done(client, doing, result)?;
                }
            }
        }
    }

    fn send_request(
        &mut self,
        client: usize,
        node: usize,
        message: &ClientMessage,
        connect_within: Duration,
    ) -> Result<(), Violation> {
        let message = self.through_the_wire(message)?;
        let ticket = self.tell_request(client, node, &message);
        let link = self.clients[client].links[node];
        let life = self.nodes[node].life;
        if 0 < link.cuts || self.nodes[node].process.is_none() {
            self.tell_lost(ticket, "the node cannot be reached");
            let lost = Event::RequestLost { client, request: message.id, sent: false };
            self.queue.push(self.now + connect_within, lost);
            return Ok(());
        }
        let stream = &mut self.clients[client].stream;
        let delay = self.plan.network.delay.draw("request's delay", stream);
        let session = session(client, link.epoch);
        self.queue.push(self.now + delay, Event::Request { node, life, session, message: Box::new(message), ticket });
        Ok(())
    }

    /// Whether what was sent on a client's connection still arrives.
    pub(super) fn is_open(&self, node: usize, name: SessionId) -> bool {
        let (client, epoch) = client_of(name);
        self.clients[client].links[node].epoch == epoch
    }

    /// A client's connection to a node breaks: it learns so of everything under way there.
    pub(super) fn disconnect_client(&mut self, client: usize, node: usize) {
        let actor = &mut self.clients[client];
        actor.links[node].epoch += 1;
        let Some(doing) = &actor.doing else { return };
        let after = self.plan.network.detection.draw("client's detection", &mut actor.stream);
        for &(request, _, to) in &doing.sent {
            if to == node {
                self.queue.push(self.now + after, Event::RequestLost { client, request, sent: true });
            }
        }
    }

    /// A process has died: so have its connections to clients.
    pub(super) fn disconnect_clients(&mut self, node: usize) {
        (0..self.clients.len()).for_each(|client| self.disconnect_client(client, node));
    }

    /// A client learns that a request is lost.
    pub(super) fn request_lost(&mut self, client: usize, request: RequestId, sent: bool) -> Result<(), Violation> {
        let now = self.now;
        let actor = &mut self.clients[client];
        let Some(doing) = &mut actor.doing else { return Ok(()) };
        let Some(&(_, attempt, node)) = doing.sent.iter().find(|(known, ..)| *known == request) else { return Ok(()) };
        let fate = if sent {
            Lost::Unknown(ConnectProblem::Lost { reason: "broken".to_owned() })
        } else {
            actor.router.note_unreachable(node_id(node), now);
            Lost::NotSent(ConnectProblem::Silent)
        };
        doing.operation.handle_lost(attempt, fate);
        self.drive(client)
    }

    /// A reply arrives at a client. A batch's parts are put together.
    pub(super) fn reply_arrived(
        &mut self,
        node: usize,
        name: SessionId,
        message: NodeMessage,
    ) -> Result<(), Violation> {
        let (client, _) = client_of(name);
        let now = self.now;
        let actor = &mut self.clients[client];
        actor.router.note_reachable(node_id(node));
        let Some(doing) = &mut actor.doing else { return Ok(()) };
        let NodeMessage { id, mut result } = message;
        let Some(&(_, attempt, _)) = doing.sent.iter().find(|(known, ..)| *known == id) else { return Ok(()) };
        if let Ok(Response::Many(part)) = &mut result {
            let items = match &doing.task {
                Task::GetMany(keys) => keys.len(),
                Task::PutMany(writes) => writes.len(),
                _ => 0,
            };
            let parts = doing.parts.entry(id).or_default();
            parts.append(part);
            if parts.len() < items {
                return Ok(());
            }
            part.append(parts);
            part.sort_by_key(|(index, _)| *index);
        }
        doing.operation.handle_reply(now, attempt, result);
        self.drive(client)
    }

    /// O10, at the instant of the acknowledgement: a node is about to tell a client that its write is stored.
    pub(super) fn check_acknowledgement(&mut self, name: SessionId, message: &NodeMessage) -> Result<(), Violation> {
        let (client, _) = client_of(name);
        let Some(doing) = &self.clients[client].doing else { return Ok(()) };
        if doing.sent.iter().all(|(known, ..)| *known != message.id) {
            return Ok(());
        }
        let acknowledged: Vec<WriteId> = match (&doing.task, &message.result) {
            (Task::Write(id), Ok(Response::Stored { .. })) => vec![*id],
            (Task::PutMany(writes), Ok(Response::Many(part))) => {
                let stored = part.iter().filter(|(_, result)| matches!(result, Ok(Response::Stored { .. })));
                stored.map(|(index, _)| writes[*index as usize]).collect()
            }
            _ => Vec::new(),
        };
        for id in acknowledged {
            if honesty::check(&self.dots, &self.truth, id).is_err() {
                self.note_held_by_clocks(id);
                honesty::check(&self.dots, &self.truth, id)?;
            }
        }
        Ok(())
    }

    /// Takes note of the stores that have held a write with the clock of a whole partition, and logged no event of it.
    fn note_held_by_clocks(&mut self, id: WriteId) {
        let key = &self.truth.keys[self.truth.write(id).key].key;
        let partition = self.ring.partition_of(Position::of(key));
        let entries: Vec<Bytes> = self.dots.entries_of(id, key).cloned().collect();
        for entry in entries {
            let dot = dots::dot_of(&entry);
            for node in 0..self.nodes.len() {
                let node = self.nodes[node].id;
                let has =
                    |durably| self.clock_on_disk(node, partition, durably).is_some_and(|clock| clock.contains(&dot));
                let (flushed, synced) = (has(false), has(true));
                self.dots.note_flushed(node, flushed.then(|| entry.clone()).into_iter());
                self.dots.note_synced(node, synced.then(|| entry.clone()).into_iter());
            }
        }
    }

    /// Notes what kind of failure a client met.
    pub(super) fn note_error(&mut self, error: &Error) {
        use quorate_ring::wire::RequestError;
        match error {
            Error::Node { error: RequestError::ReadQuorum { .. }, .. } => {
                self.tallies.note(Sometimes::ReadQuorumFailed)
            }
            Error::Node { error: RequestError::WriteQuorum { .. }, .. } => {
                self.tallies.note(Sometimes::WriteQuorumFailed);
            }
            Error::Timeout { .. } => self.tallies.note(Sometimes::TimedOut),
            _ => {}
        }
    }
}
