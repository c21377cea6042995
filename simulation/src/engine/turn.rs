//! Driving a node: one input at a time into a production shard, its outputs out, its turn to the disk.

use quorate_node::handoff::hint::layout as hint;
use quorate_node::replica::layout;
use quorate_node::shard::Counters;
use quorate_node::start::Standing;
use quorate_node::storage::{Change, Column, Operation, Storage};
use quorate_node::{Input, Output, Time};
use quorate_ring::version::{Actor, Container};
use quorate_ring::wire::{ClientMessage, HintMessage, NodeMessage, PeerMessage, ReplicaError};
use quorate_ring::{NodeId, StoredValue, WallTime};

use super::event::{Done, Event};
use super::members::OPERATOR;
use super::{Phase, Simulation, index_of};
use crate::catalogue::FaultId;
use crate::clock::true_wall;
use crate::node::share;
use crate::oracle::truth::WriteId;
use crate::oracle::{Violation, availability, bounds, expired};
use crate::sometimes::{Sometimes, Tallies};
use crate::story::StoreKind;

/// A slow disk takes so many times as long.
const SLOW: u32 = 40;

impl Simulation {
    /// Gives a shard one input and does all that it wants done.
    pub(super) fn turn(&mut self, node: usize, shard: usize, input: Input) -> Result<(), Violation> {
        let cause = Cause::of(&input);
        let machine = &mut self.nodes[node];
        let local = machine.clock.at(self.now);
        let Some(process) = &mut machine.process else { return Ok(()) };
        let told = &mut process.walls[shard];
        if told.is_old(local) {
            let reading = machine.clock.wall_at(self.now);
            told.tell(local, reading);
            process.shards[shard].handle(local, Input::WallClock(reading));
        }
        let wall = told.shows(local);
        self.truth.wall = self.truth.wall.max(wall);
        let before = process.shards[shard].counters();
        process.shards[shard].handle(local, input);
        let after = process.shards[shard].counters();
        let mut outputs = Vec::new();
        while let Some(output) = process.shards[shard].poll_output() {
            outputs.push(output);
        }
        let mut hint_number = first_hint_number(&process.shards[shard], &outputs);
        bounds::check(machine.id, &process.shards[shard], &self.plan.cluster.hints.bounds())?;
        note_admission(&mut self.tallies, before, after);
        let dies = process.doom.filter(|doom| doom.inputs == 0);
        if let Some(doom) = &mut process.doom {
            doom.inputs = doom.inputs.saturating_sub(1);
        }
        if let Some(doom) = dies {
            outputs.truncate(share(outputs.len(), doom.outputs));
            self.tallies.note(Sometimes::CrashedInTurn);
            self.fired(FaultId::P8);
        }
        self.narrow_fan_out(node, &mut outputs);
        let mut turn = Vec::new();
        for output in outputs {
            match output {
                Output::SendPeer { to, message } => {
                    if let PeerMessage::Replicate { container, .. } = &message {
                        expired::check_moments(&mut self.truth, wall, container)?;
                    }
                    self.sent(node, index_of(to), cause, &message)?;
                }
                Output::Reply { session: OPERATOR, .. } => {}
                Output::Reply { session, id, result } => {
                    expired::check_answer(&self.truth, wall, &result)?;
                    let message = NodeMessage { id, result };
                    self.check_acknowledgement(session, &message)?;
                    self.send_reply(node, session, &message)?;
                }
                Output::Store { id, operation } => {
                    self.stored(node, wall, &mut hint_number, &operation)?;
                    turn.push((id, operation));
                }
                Output::LossFound { by, lost } => {
                    availability::check_loss(self.nodes[node].id, self.truth.losing.contains(&node))?;
                    self.tallies.note(Sometimes::LossFound);
                    let ring = self.founding_ring();
                    self.nodes[node].note_lost(&ring, &lost);
                    self.note_standing(node, Standing::Lost, Some(by));
                }
                Output::Proven => self.note_standing(node, Standing::Proven, None),
                Output::CaughtUp => self.caught_up(node),
                Output::Placement(placement) => self.placed(node, &placement),
                Output::Progress(progress) => self.progressed(node, shard, progress),
                Output::Datagram { to, datagram } => self.send_datagram(node, index_of(to), datagram),
                Output::Standings(standings) => self.opined(node, standings),
                Output::StorageFailed { reason } => self.storage_failed(node, &reason),
            }
        }
        self.watch_deliveries(node, shard)?;
        if !turn.is_empty() {
            self.queue_turn(node, shard, turn);
        }
        if dies.is_some() {
            self.crash(node);
        } else {
            self.schedule_wake(node, shard);
        }
        Ok(())
    }

    /// A shard has all again that it may have lost. When all shards of the node have, its store remembers.
    fn caught_up(&mut self, node: usize) {
        self.tallies.note(Sometimes::CaughtUp);
        let process = self.nodes[node].process.as_ref();
        if process.is_some_and(|process| process.shards.iter().all(|shard| shard.replica().is_complete())) {
            self.note_standing(node, Standing::Proven, None);
        }
    }

    /// A node's store remembers for certain whether it has all that was ever acknowledged from it.
    fn note_standing(&mut self, node: usize, standing: Standing, by: Option<NodeId>) {
        let ring = self.founding_ring();
        self.nodes[node].note_standing(&ring, standing);
        self.tell_standing(node, standing, by);
        self.sync(node);
    }

    /// Takes out what a fault keeps from reaching all the primaries of a write; the streams it was on break.
    fn narrow_fan_out(&mut self, node: usize, outputs: &mut Vec<Output>) {
        let Some(process) = &mut self.nodes[node].process else { return };
        let Some(reaches) = process.fan_out else { return };
        let is_copy =
            |output: &Output| matches!(output, Output::SendPeer { message: PeerMessage::Replicate { .. }, .. });
        let copies = outputs.iter().filter(|output| is_copy(output)).count();
        if copies <= reaches {
            return;
        }
        process.fan_out = None;
        let (mut sent, mut unreached) = (0, Vec::new());
        outputs.retain(|output| {
            sent += usize::from(is_copy(output));
            match output {
                Output::SendPeer { to, .. } if is_copy(output) && reaches < sent => {
                    unreached.push(index_of(*to));
                    false
                }
                _ => true,
            }
        });
        self.fired(FaultId::N16);
        unreached.into_iter().for_each(|peer| self.break_link(node, peer));
    }

    fn sent(&mut self, node: usize, to: usize, cause: Cause, message: &PeerMessage) -> Result<(), Violation> {
        match message {
            PeerMessage::Replicate { exchange, key, dot, container, hint_for, .. } => {
                let partition = self.ring.partition_of(quorate_ring::Position::of(key));
                self.dots.note_sent(partition, key, *dot, container)?;
                let own = self.nodes[node].id;
                if !self.primaries_by(own, partition).contains(&own) {
                    self.tallies.note(Sometimes::FallbackCoordinated);
                }
                if let Some(target) = hint_for
                    && !self.stood_in.insert((node, *exchange, *target))
                {
                    self.tallies.note(Sometimes::StandInReplaced);
                }
            }
            PeerMessage::ReplicateReply { exchange, result: Err(ReplicaError::Overloaded) }
                if self.replicas.is_hint(self.nodes[to].id, *exchange, self.nodes[node].id) =>
            {
                self.tallies.note(Sometimes::HintRefused);
                self.note_refused(node, ReplicaError::Overloaded);
            }
            PeerMessage::ReplicateReply { result: Err(ReplicaError::NotResponsible), .. } => {
                self.tallies.note(Sometimes::ViewRefused);
            }
            PeerMessage::Hint(HintMessage::Taken { exchange, result: Ok(taken) }) => {
                let (own, asker) = (self.nodes[node].id, self.nodes[to].id);
                let stored = taken.stored as usize;
                self.replicas.acknowledge(&self.truth, own, asker, *exchange, stored)?;
                if 0 < stored {
                    self.tallies.note(Sometimes::HintDelivered);
                }
            }
            PeerMessage::Read { stand_in: true, .. } => {
                self.tallies.note(Sometimes::ReadStandIn);
                if cause != Cause::Request {
                    self.tallies.note(Sometimes::ReadStandInLate);
                }
            }
            PeerMessage::Read { .. } | PeerMessage::Scan { .. } if cause == Cause::Time => {
                self.tallies.note(Sometimes::Hedged);
            }
            PeerMessage::ReplicateReply { exchange, result: Ok(()) } => {
                let (own, asker) = (self.nodes[node].id, self.nodes[to].id);
                self.replicas.acknowledge(&self.truth, own, asker, *exchange, 1)?;
            }
            PeerMessage::Repair { .. } => self.tallies.note(Sometimes::Repaired),
            PeerMessage::Forward { .. } => self.tallies.note(Sometimes::Forwarded),
            PeerMessage::ReadReply { result: Ok(read), .. } if !read.complete => {
                self.tallies.note(Sometimes::AnsweredCatchingUp);
            }
            _ => {}
        }
        if let PeerMessage::Hint(message) = message {
            self.watch_hand_over(node, to, message)?;
        }
        self.send(node, to, message)
    }

    fn stored(
        &mut self,
        node: usize,
        wall: WallTime,
        hint_number: &mut u64,
        operation: &Operation,
    ) -> Result<(), Violation> {
        let Some(process) = &self.nodes[node].process else { return Ok(()) };
        let Operation::Write { batch, .. } = operation else { return Ok(()) };
        let own = process.actor;
        self.watch_hints(node, hint_number, &batch.changes)?;
        let mut stored = None;
        for change in &batch.changes {
            if self.hinted(own, wall, change)? {
                continue;
            }
            let (place, container) = match change {
                Change::Put { column: Column::Objects, key, value } => (key, layout::decode_container(value).ok()),
                Change::Delete { column: Column::Objects, key } => (key, None),
                Change::DeleteRange { column: Column::Objects, from, until } => {
                    self.released(node, from, until);
                    continue;
                }
                _ => continue,
            };
            let key = layout::object_key(place).expect("a shard stores objects under their keys");
            if let Some(container) = &container {
                expired::check_moments(&mut self.truth, wall, container)?;
                expired::check_stored(wall, container)?;
            }
            let dropped = self.replicas.store(&self.truth, own.node, (None, key), container.as_ref())?;
            let without_event =
                !batch.changes.iter().any(|change| matches!(change, Change::Put { column: Column::DotLog, .. }));
            self.note_expired(wall, &dropped, without_event);
            stored = container;
        }
        let slices = self.nodes[node].slices(&self.ring);
        let Some(process) = &self.nodes[node].process else { return Ok(()) };
        let issuer = |partition| process.shards[usize::from(slices.shard_of(partition))].replica().actor_of(partition);
        if 1 < self.dots.note_stored(issuer, &batch.changes, stored.as_ref())? {
            self.tallies.note(Sometimes::WritesTogether);
        }
        Ok(())
    }

    /// What a node keeps for another changes. `false` if it is something else that changes.
    fn hinted(&mut self, own: Actor, wall: WallTime, change: &Change) -> Result<bool, Violation> {
        let parsed = |place| hint::target_and_key(place).expect("a shard stores hints under their keys");
        match change {
            Change::Put { column: Column::Hints, key: place, value } => {
                let (target, key) = parsed(place);
                let stored = hint::decode(value).expect("what was encoded can be decoded");
                let partition = self.ring.partition_of(quorate_ring::Position::of(&key));
                for dot in &stored.dots {
                    self.dots.note_kept(partition, &key, *dot, &stored.container)?;
                }
                // What is kept for another is for that one to drop when its time comes.
                expired::check_moments(&mut self.truth, wall, &stored.container)?;
                self.tallies.note(Sometimes::HintMade);
                self.replicas.store(&self.truth, own.node, (Some(target), key), Some(&stored.container))?;
            }
            Change::Delete { column: Column::Hints, key: place } => {
                let (target, key) = parsed(place);
                self.replicas.drop_hint(own.node, target, key);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What a store drops may have expired: met by a read, if no event comes with it.
    fn note_expired(&mut self, wall: WallTime, dropped: &[WriteId], without_event: bool) {
        let truly = true_wall(self.now);
        for moment in dropped.iter().filter_map(|id| self.truth.expires_at(*id)).filter(|moment| *moment <= wall) {
            if without_event {
                self.tallies.note(Sometimes::ExpiredOnRead);
            }
            if truly < moment {
                self.tallies.note(Sometimes::ExpiredByJump);
            }
        }
    }

    /// A container arrives at a node: by whose clock something in it may have expired.
    pub(super) fn note_arrived(&mut self, node: usize, container: &Container<StoredValue>) {
        if container.has_expired(self.nodes[node].clock.wall_at(self.now)) {
            self.tallies.note(Sometimes::ExpiredInMerge);
        }
    }

    fn queue_turn(&mut self, node: usize, shard: usize, turn: Vec<(quorate_node::storage::OperationId, Operation)>) {
        let now = self.now;
        let machine = &mut self.nodes[node];
        let life = machine.life;
        let slow = if now < machine.slow_until { SLOW } else { 1 };
        let Some(process) = &mut machine.process else { return };
        let takes = self.plan.disk.write.draw("write", &mut process.stream) * slow;
        let stalled = machine.stalled_until;
        let disk = &mut machine.disks[shard];
        disk.queue.push_back(turn);
        disk.busy_until = disk.busy_until.max(now).max(stalled) + takes;
        self.queue.push(disk.busy_until, Event::DiskTurn { node, life, shard });
    }

    fn schedule_wake(&mut self, node: usize, shard: usize) {
        let machine = &mut self.nodes[node];
        let life = machine.life;
        let Some(process) = &mut machine.process else { return };
        let Some(deadline) = process.shards[shard].next_deadline() else { return };
        let wake = &mut process.wakes[shard];
        if wake.is_none_or(|wake| deadline < wake) {
            *wake = Some(deadline);
            let at = machine.clock.moment_of(deadline);
            self.queue.push(at.max(self.now), Event::Wake { node, life, shard });
        }
    }

    /// A shard is told the time, if this is the telling it waits for.
    pub(super) fn wake(&mut self, node: usize, shard: usize) -> Result<(), Violation> {
        if let Some(process) = &mut self.nodes[node].process {
            process.wakes[shard] = None;
        }
        self.turn(node, shard, Input::Time)
    }

    /// A disk does a turn.
    pub(super) fn disk_turn(&mut self, node: usize, shard: usize) {
        let written = self.tell_next_turn(node, shard);
        let (now, machine) = (self.now, &mut self.nodes[node]);
        if now < machine.stalled_until {
            return self.queue.push(machine.stalled_until, Event::DiskTurn { node, life: machine.life, shard });
        }
        let entries = machine.do_turn(now, shard);
        self.tell_stores(node, StoreKind::Flushed, &entries);
        self.tell_holds(node, &written);
        self.dots.note_flushed(self.nodes[node].id, entries.into_iter());
        self.complete(node, shard);
        let machine = &mut self.nodes[node];
        let waiting = machine.disks.iter().any(|disk| 0 < disk.store.awaiting_sync());
        if let (true, false, Some(process)) = (waiting, machine.syncing, &mut machine.process) {
            machine.syncing = true;
            let slow = if self.now < machine.slow_until { SLOW } else { 1 };
            let takes = self.plan.disk.sync.draw("sync", &mut process.stream) * slow;
            self.queue.push(self.now + takes, Event::Sync { node, life: machine.life });
        }
    }

    /// A node's disks sync.
    pub(super) fn sync(&mut self, node: usize) {
        let (now, machine) = (self.now, &mut self.nodes[node]);
        if now < machine.stalled_until {
            machine.syncing = true;
            return self.queue.push(machine.stalled_until, Event::Sync { node, life: machine.life });
        }
        let entries = machine.sync(now);
        self.tell_stores(node, StoreKind::Synced, &entries);
        self.dots.note_synced(self.nodes[node].id, entries.into_iter());
        for shard in 0..self.nodes[node].disks.len() {
            self.complete(node, shard);
        }
    }

    /// A node's disks sync for nobody, and will again.
    pub(super) fn background_sync(&mut self, node: usize, life: u32) {
        self.sync(node);
        if self.phase != Phase::Healed {
            let pause = self.plan.disk.background_sync.duration();
            self.queue.push(self.now + pause, Event::BackgroundSync { node, life });
        }
    }

    fn complete(&mut self, node: usize, shard: usize) {
        let machine = &mut self.nodes[node];
        let store = &mut machine.disks[shard].store;
        let completions: Vec<Done> = std::iter::from_fn(|| store.poll_completion()).collect();
        if let (false, Some(process)) = (completions.is_empty(), &mut machine.process) {
            let takes = self.plan.disk.completion.draw("completion", &mut process.stream);
            let life = machine.life;
            self.queue.push(self.now + takes, Event::Completed { node, life, shard, completions });
        }
    }

    /// A shard learns that storage operations are done, each in a turn of its own.
    pub(super) fn completed(&mut self, node: usize, shard: usize, completions: Vec<Done>) -> Result<(), Violation> {
        let life = self.nodes[node].life;
        for (id, result) in completions {
            if self.nodes[node].life == life {
                self.turn(node, shard, Input::Completed { id, result })?;
            }
        }
        Ok(())
    }

    /// A client's request arrives at a node and is dealt to its shards.
    pub(super) fn request_arrived(
        &mut self,
        node: usize,
        session: quorate_node::SessionId,
        message: ClientMessage,
    ) -> Result<(), Violation> {
        let ClientMessage { id, timeout_millis, request } = message;
        let parts = self.nodes[node].slices(&self.ring).split(request);
        if 1 < parts.len() {
            self.tallies.note(Sometimes::BatchSplit);
        }
        for (shard, request, indices) in parts {
            let input = Input::ClientRequest { session, id, timeout_millis, request, indices };
            self.turn(node, usize::from(shard), input)?;
        }
        Ok(())
    }

    /// Until when a node's process stands still, if it does.
    pub(super) fn paused_until(&self, node: usize) -> Option<Time> {
        let process = self.nodes[node].process.as_ref()?;
        (self.now < process.paused_until).then_some(process.paused_until)
    }
}

/// What a shard decided about whom it asks and lets in, as its counters tell.
fn note_admission(tallies: &mut Tallies, before: Counters, after: Counters) {
    let decided = [
        (Sometimes::RepairAwaited, before.repairs_awaited, after.repairs_awaited),
        (Sometimes::HedgeDenied, before.hedges_denied, after.hedges_denied),
        (Sometimes::RankedAway, before.ranked_away, after.ranked_away),
        (Sometimes::Probed, before.probes, after.probes),
        (Sometimes::BackgroundWaited, before.background_waits, after.background_waits),
        (Sometimes::TransferResumed, before.transfers_resumed, after.transfers_resumed),
    ];
    for (what, before, after) in decided {
        (before..after).for_each(|_| tallies.note(what));
    }
}

/// Why a shard does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// A client asks.
    Request,
    /// Time has passed.
    Time,
    /// Something else.
    Other,
}

impl Cause {
    const fn of(input: &Input) -> Self {
        match input {
            Input::ClientRequest { .. } => Self::Request,
            Input::Time => Self::Time,
            _ => Self::Other,
        }
    }
}

/// The number of the first hint that a shard stores in a turn: it has numbered them all by now.
fn first_hint_number(shard: &quorate_node::Shard, outputs: &[Output]) -> u64 {
    let operations = outputs.iter().filter_map(|output| match output {
        Output::Store { operation, .. } => Some(operation),
        _ => None,
    });
    let changes = operations.flat_map(Operation::changes);
    let stored = changes.filter(|change| matches!(change, Change::Put { column: Column::Hints, .. })).count();
    shard.hint_sequence() - stored as u64
}
