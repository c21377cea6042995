//! Faults of machines: their processes, disks and clocks.

use std::time::Duration;

use quorate_node::Time;
use quorate_node::handoff::hint::layout as hint;
use quorate_node::replica::layout;
use quorate_node::storage::Column;
use quorate_node::storage::memory::MemoryStore;

use quorate_ring::StoredValue;
use quorate_ring::version::Container;

use super::super::event::Event;
use super::super::{Phase, Simulation, index_in_plan, node_id};
use crate::catalogue::FaultId;
use crate::clock::true_wall;
use crate::node::{Doom, Node, Process};
use crate::plan::fault::Fault;
use crate::plan::spoken;
use crate::sometimes::Sometimes;

/// Most jumps of one strobing clock, so that a short `each` does not fill the queue.
const STROBE_JUMPS_MAX: u32 = 1_000;

impl Simulation {
    pub(super) fn machine_fault_begins(&mut self, fault: &Fault, lasting: Duration) {
        let Some(node) = fault.nodes().first().map(|node| index_in_plan(*node)) else { return };
        if fault.nodes().iter().any(|node| self.nodes[index_in_plan(*node)].disks_of.is_some()) {
            return;
        }
        let until = self.now + lasting;
        let runs = self.nodes[node].process.is_some();
        match fault {
            Fault::PowerLoss { nodes, keeps, torn } => self.lose_power(fault.id(), nodes, *keeps, *torn, lasting),
            Fault::OldCopy { .. } => self.nodes[node].copy(),
            Fault::SwapDisks { nodes } => self.swap_disks(*nodes),
            Fault::Clock { jump_millis, drift_ppm, .. } => {
                let now = self.now;
                let clock = &mut self.nodes[node].clock;
                clock.jump(*jump_millis);
                clock.drift(now, *drift_ppm);
                let ahead = clock.wall_ahead_millis(now);
                self.tell_note(node, || format!("its wall clock is {ahead} ms ahead"));
                self.fired(FaultId::P6);
            }
            Fault::Strobe { by_millis, each, .. } => {
                let jumps = lasting.as_micros() / each.duration().as_micros().max(1);
                for jump in 0..u32::try_from(jumps).unwrap_or(STROBE_JUMPS_MAX).min(STROBE_JUMPS_MAX) / 2 * 2 {
                    let millis = if jump % 2 == 0 { *by_millis } else { -*by_millis };
                    self.queue.push(self.now + each.duration() * jump, Event::WallJump { node, millis });
                }
                self.fired(FaultId::P6);
            }
            Fault::DiskFull { .. } => {
                let machine = &mut self.nodes[node];
                machine.full_until = machine.full_until.max(until);
            }
            Fault::SlowDisk { .. } => {
                self.tallies.note(Sometimes::DiskSlow);
                self.nodes[node].slow_until = until;
                self.fired(FaultId::D7);
            }
            Fault::StallDisk { .. } => {
                let machine = &mut self.nodes[node];
                machine.stalled_until = machine.stalled_until.max(until);
                self.fired(FaultId::D7);
            }
            Fault::LyingSync { .. } => self.nodes[node].lying_until = until,
            Fault::Upgrade { protocol, .. } => {
                // One that is down starts with it.
                self.nodes[node].protocol_next = spoken(*protocol);
                if runs {
                    self.stop_for(node, lasting);
                }
                self.fired(fault.id());
            }
            Fault::Rot { key, .. } => self.rot(node, &[*key], FaultId::D3),
            Fault::Misdirect { keys, .. } => self.rot(node, keys, FaultId::D4),
            _ if !runs => {}
            Fault::Crash { begun, .. } => {
                self.crash_for(node, Some(lasting), *begun);
                self.fired(FaultId::P1);
            }
            Fault::Stop { .. } => self.stop_for(node, lasting),
            Fault::ReplaceDisks { .. } => self.replace_disks(node, lasting),
            _ => self.process_fault_begins(node, fault, lasting),
        }
    }

    fn process_fault_begins(&mut self, node: usize, fault: &Fault, lasting: Duration) {
        let (now, life) = (self.now, self.nodes[node].life);
        match fault {
            Fault::CrashAt { inputs, outputs, .. } => {
                let doom = Doom { inputs: *inputs, outputs: *outputs };
                self.with_process(node, |process| process.doom = Some(doom));
            }
            Fault::FanOut { reaches, .. } => self.with_process(node, |process| process.fan_out = Some(*reaches)),
            Fault::Pause { .. } => self.pause(node, now + lasting),
            Fault::Stutter { runs, stands, .. } => {
                let mut after = Duration::ZERO;
                while after < lasting {
                    let until = now + after + stands.duration();
                    self.queue.push(now + after, Event::Stand { node, life, until });
                    after += runs.duration() + stands.duration() + Duration::from_micros(100);
                }
            }
            Fault::WriteFailure { .. } => {
                self.failing(node, |store| store.fail_next_write("planned"));
                self.fired(FaultId::D6);
            }
            Fault::SyncFailure { .. } => {
                self.failing(node, |store| store.fail_next_sync("planned"));
                self.fired(FaultId::D1);
            }
            Fault::ReadFailure { .. } => {
                self.failing(node, |store| store.fail_next_read("planned"));
                self.fired(FaultId::D5);
            }
            _ => {}
        }
    }

    pub(super) fn machine_fault_ends(&mut self, fault: &Fault) {
        match fault {
            Fault::OldCopy { node } => self.restore(index_in_plan(*node)),
            Fault::SwapDisks { nodes } => self.swap_disks_back(*nodes),
            _ => {}
        }
    }

    fn failing(&mut self, node: usize, how: impl Fn(&mut MemoryStore)) {
        let machine = &mut self.nodes[node];
        machine.failing = true;
        machine.disks.iter_mut().for_each(|disk| how(&mut disk.store));
    }

    fn with_process(&mut self, node: usize, change: impl FnOnce(&mut Process)) {
        if let Some(process) = &mut self.nodes[node].process {
            change(process);
        }
    }

    /// A process stands still, whatever the phase.
    pub(in super::super) fn stand_still(&mut self, node: usize, until: Time) {
        self.with_process(node, |process| process.paused_until = process.paused_until.max(until));
    }

    /// A process stands still because of a fault.
    pub(in super::super) fn pause(&mut self, node: usize, until: Time) {
        if self.phase == Phase::Load {
            self.tallies.note(Sometimes::Paused);
            self.fired(FaultId::P5);
            self.stand_still(node, until);
        }
    }

    /// A process dies and, if it is said after how long, starts again.
    pub(in super::super) fn crash_for(&mut self, node: usize, lasting: Option<Duration>, begun: u16) {
        let process = self.nodes[node].die(begun);
        self.tell_dies(node, "crashed");
        self.tallies.note(Sometimes::ProcessCrashed);
        self.died(node, process, lasting);
    }

    fn stop_for(&mut self, node: usize, lasting: Duration) {
        let ring = self.founding_ring();
        let machine = &mut self.nodes[node];
        if machine.disks.iter().any(|disk| disk.store.poisoned().is_some()) {
            return self.crash_for(node, Some(lasting), 0);
        }
        let process = machine.stop(self.now, &ring);
        self.tell_dies(node, "was stopped in order");
        self.tallies.note(Sometimes::CleanlyRestarted);
        self.fired(FaultId::P1);
        self.died(node, process, Some(lasting));
    }

    fn lose_power(&mut self, id: FaultId, nodes: &[u32], keeps: u16, torn: bool, lasting: Duration) {
        for node in nodes.iter().map(|node| index_in_plan(*node)) {
            self.truth.losing.insert(node);
            let writing = self.nodes[node].disks.iter().any(|disk| !disk.queue.is_empty());
            // Of a batch that is half on the disk nothing is there afterwards; of one before it, all.
            let process = self.nodes[node].die(if torn { 0 } else { keeps });
            self.tell_dies(node, "lost power");
            if std::mem::take(&mut self.nodes[node].lied) {
                self.truth.disks_lost.insert(node);
                self.fired(FaultId::D1);
            }
            if 0 < self.nodes[node].lose_power(keeps) {
                self.tallies.note(Sometimes::PowerLost);
            }
            if !torn || writing {
                self.fired(id);
            }
            self.died(node, process, Some(lasting));
        }
    }

    pub(in crate::engine) fn replace_disks(&mut self, node: usize, lasting: Duration) {
        self.tallies.note(Sometimes::DiskReplaced);
        self.fired(FaultId::P3);
        self.loses_disks(node);
        let process = self.nodes[node].die(0);
        self.tell_dies(node, "went down for empty disks");
        self.nodes[node].replace_disks();
        self.died(node, process, Some(lasting));
    }

    fn loses_disks(&mut self, node: usize) {
        self.truth.losing.insert(node);
        self.truth.disks_lost.insert(node);
    }

    /// The copy that was made when the fault began takes the place of the stores.
    fn restore(&mut self, node: usize) {
        if self.nodes[node].disks_of.is_some() {
            return;
        }
        let process = self.nodes[node].die(0);
        self.tell_dies(node, "went down for an old copy of its store");
        if self.nodes[node].restore() {
            self.loses_disks(node);
            self.fired(FaultId::P4);
        }
        self.died(node, process, None);
        self.queue.push(self.now, Event::Start { node });
    }

    fn two(&mut self, nodes: [u32; 2]) -> [&mut Node; 2] {
        self.nodes.get_disjoint_mut(nodes.map(index_in_plan)).expect("two different nodes")
    }

    fn swap_disks(&mut self, nodes: [u32; 2]) {
        for node in nodes.map(index_in_plan) {
            let process = self.nodes[node].die(0);
            self.tell_dies(node, "went down for another's disks");
            self.died(node, process, None);
        }
        let ring = self.founding_ring();
        let [one, other] = self.two(nodes);
        one.swap_disks(other);
        (one.disks_of, other.disks_of) = (Some(other.id), Some(one.id));
        for machine in [one, other] {
            machine.start_on_foreign_disks(&ring).expect("a node refuses the disks of another");
        }
        self.fired(FaultId::P4);
    }

    fn swap_disks_back(&mut self, nodes: [u32; 2]) {
        let [one, other] = self.two(nodes);
        if one.disks_of == Some(other.id) {
            one.swap_disks(other);
            (one.disks_of, other.disks_of) = (None, None);
        }
        nodes.map(index_in_plan).into_iter().for_each(|node| self.queue.push(self.now, Event::Start { node }));
    }

    /// Stored objects cannot be read any more.
    fn rot(&mut self, node: usize, keys: &[usize], id: FaultId) {
        for key in keys {
            let place = layout::object(&self.truth.keys[*key].key);
            let rotted = self.nodes[node].disks.iter_mut().any(|disk| disk.store.rot(Column::Objects, &place));
            if rotted {
                self.replicas.lose(node_id(node), &self.truth.keys[*key].key);
                self.fired(id);
                self.loses_disks(node);
            }
        }
    }

    /// A disk has forgotten an object, though nobody removed it; the process has no part of it in its hands. `false` if there was none, or
    /// no other node to have it from.
    pub(in super::super) fn forget_object(&mut self, node: usize, key: usize) -> bool {
        let name = self.truth.keys[key].key.clone();
        let place = layout::object(&name);
        let mut disks = self.nodes[node].disks.iter_mut();
        let disk = disks.find(|disk| disk.store.value(Column::Objects, &place).is_some());
        let Some(disk) = disk.filter(|_| 1 < self.truth.n) else { return false };
        // What soon expires is not compared, nor what knows of events beyond a gap, and nothing promises that it is found missing.
        let stored = disk.store.value(Column::Objects, &place).map(|stored| layout::decode_container(stored));
        let lives = |stored: &Container<StoredValue>| {
            stored.vector().is_empty() && stored.values().all(|(_, value)| value.expires_at.is_none())
        };
        if !stored.is_some_and(|stored| stored.is_ok_and(|stored| lives(&stored))) {
            return false;
        }
        disk.store.tamper(Column::Objects, &place, None);
        self.replicas.lose(node_id(node), &name);
        self.fired(FaultId::D4);
        true
    }

    pub(super) fn died(&mut self, node: usize, process: Option<Process>, lasting: Option<Duration>) {
        let Some(process) = process else { return };
        self.streams.push(process.stream);
        self.disconnect_all(node);
        self.disconnect_clients(node);
        if let Some(lasting) = lasting {
            self.queue.push(self.now + lasting, Event::Start { node });
        }
    }

    /// A machine is switched on.
    pub(in super::super) fn start(&mut self, node: usize) {
        let kept_down = self.phase == Phase::Core && self.plan.cluster.core_without.contains(&(node as u32 + 1));
        let (now, ring) = (self.now, self.founding_ring());
        let machine = &mut self.nodes[node];
        if machine.process.is_some() || machine.disks_of.is_some() || kept_down {
            return;
        }
        if now < machine.full_until {
            self.fired.note(FaultId::D6);
            return self.queue.push(machine.full_until, Event::Start { node });
        }
        let life = machine.life;
        let stream = self.choices.stream(format!("node {} life {life}", node + 1));
        let members = (&ring, self.members.founding());
        machine.start(now, &self.plan, self.quorum, members, stream);
        // What a dying process had begun to write may be there or not; now it shows.
        let mut found = Vec::new();
        for disk in &mut machine.disks {
            disk.unsynced = disk.logged(machine.partitions);
            self.dots.note_flushed(machine.id, disk.unsynced.iter().cloned());
            found.extend(disk.unsynced.iter().cloned());
        }
        let objects = machine.disks.iter().flat_map(|disk| disk.store.entries(Column::Objects));
        let decoded = objects.filter_map(|(place, stored)| {
            Some((None, layout::object_key(place).ok()?, layout::decode_container(stored).ok()?))
        });
        let hints = machine.disks.iter().flat_map(|disk| disk.store.entries(Column::Hints));
        let hints = hints.filter_map(|(place, stored)| {
            let (target, key) = hint::target_and_key(place).ok()?;
            Some((Some(target), key, hint::decode(stored).ok()?.container))
        });
        self.replicas.start(machine.id, decoded.chain(hints));
        // An old copy of a store has in it what had rotted when it was made, whatever was stored in its place since.
        let rotten = machine.disks.iter().flat_map(|disk| disk.store.rotten(Column::Objects));
        for key in rotten.filter_map(|place| layout::object_key(place).ok()) {
            self.replicas.lose(machine.id, &key);
        }
        let kept = machine.disks.iter().flat_map(|disk| disk.store.entries(Column::Hints));
        let kept = kept.filter_map(|(place, stored)| {
            let (target, key) = hint::target_and_key(place).ok()?;
            Some((target, key, hint::decode(stored).ok()?.dots))
        });
        self.kept.start(machine.id, kept);
        self.tell_starts(node, &found);
        let pause = self.plan.disk.background_sync.duration();
        self.queue.push(self.now + pause, Event::BackgroundSync { node, life });
        self.connect_all(node);
    }

    /// A store has failed for good: the operator starts the process again.
    pub(in super::super) fn storage_failed(&mut self, node: usize, reason: &str) {
        self.tallies.note(Sometimes::StorageFailed);
        if reason.contains("no space") {
            self.fired(FaultId::D6);
        }
        self.tell_note(node, || format!("its store failed: {reason}"));
        self.with_process(node, |process| process.doom = Some(Doom { inputs: 0, outputs: 1_000 }));
    }

    /// No fault is on a machine any more. Only pauses go on to their end, for what waits for it must not be overtaken.
    pub(super) fn heal_machine(&mut self, node: usize) {
        let now = self.now;
        let machine = &mut self.nodes[node];
        (machine.slow_until, machine.stalled_until) = (now, now);
        (machine.full_until, machine.lying_until) = (now, now);
        machine.clock.drift(now, 0);
        machine.clock.set_wall(now, true_wall(now));
        if let Some(process) = &mut machine.process {
            (process.doom, process.fan_out) = (None, None);
        }
        if machine.failing {
            self.crash_for(node, Some(Duration::from_millis(1)), 0);
        }
    }
}
