//! What goes wrong, when, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use quorate_node::storage::Column;
use quorate_node::storage::memory::MemoryStore;

use super::Simulation;
use super::event::Event;
use crate::plan::FaultKind;
use crate::sometimes::Sometimes;

impl Simulation {
    /// The next fault begins, and the one after it is planned.
    pub(super) fn fault(&mut self) {
        if self.healed || self.faults_left == 0 || self.plan.faults.kinds.is_empty() {
            return;
        }
        self.faults_left -= 1;
        let between = self.plan.faults.between.draw("until the next fault", &mut self.faults);
        self.queue.push(self.now + between, Event::Fault);
        let kind = {
            let index = self.faults.index("kind", self.plan.faults.kinds.len());
            self.plan.faults.kinds[index]
        };
        let node = self.faults.index("node", self.nodes.len());
        let lasting = self.plan.faults.lasting.draw("lasting", &mut self.faults);
        self.trace(|| format!("fault: {kind:?} at n{} for {lasting:?}", node + 1));
        match kind {
            FaultKind::Partition => self.partition(lasting),
            FaultKind::CutLinks => self.cut_links(lasting),
            FaultKind::CutClient => self.cut_client(lasting),
            FaultKind::Reset => self.reset(node),
            FaultKind::ClientReset => self.reset_client(node),
            FaultKind::Blackout => self.black_out(lasting),
            _ if self.nodes[node].process.is_none() => {}
            FaultKind::ProcessCrash => self.crash_for(node, lasting),
            FaultKind::CrashInTurn => self.with_process(node, |process| process.doomed = true),
            FaultKind::CleanRestart => self.stop_for(node, lasting),
            FaultKind::PowerLoss => self.lose_power(node, lasting),
            FaultKind::ReplacedDisk => self.replace_disks(node, lasting),
            FaultKind::WriteFailure => self.failing(node).fail_next_write("planned"),
            FaultKind::SyncFailure => self.failing(node).fail_next_sync("planned"),
            FaultKind::ReadFailure => self.failing(node).fail_next_read("planned"),
            FaultKind::Pause => {
                self.tallies.note(Sometimes::Paused);
                let until = self.now + lasting;
                self.with_process(node, |process| process.paused_until = process.paused_until.max(until));
            }
            FaultKind::SlowDisk => {
                self.tallies.note(Sometimes::DiskSlow);
                self.nodes[node].slow_until = self.now + lasting;
            }
        }
    }

    fn failing(&mut self, node: usize) -> &mut MemoryStore {
        let machine = &mut self.nodes[node];
        machine.failing = true;
        let disk = self.faults.index("disk", machine.disks.len());
        &mut machine.disks[disk].store
    }

    fn with_process(&mut self, node: usize, change: impl FnOnce(&mut crate::node::Process)) {
        if let Some(process) = &mut self.nodes[node].process {
            change(process);
        }
    }

    /// A process dies, and starts again after a while.
    pub(super) fn crash(&mut self, node: usize) {
        let lasting = self.plan.faults.lasting.draw("down", &mut self.faults);
        self.crash_for(node, lasting);
    }

    fn crash_for(&mut self, node: usize, lasting: Duration) {
        let begun = self.faults.index("turns that were begun", self.longest_queue(node) + 1);
        let process = self.nodes[node].die(begun);
        self.tallies.note(Sometimes::ProcessCrashed);
        self.died(node, process, lasting);
    }

    fn longest_queue(&self, node: usize) -> usize {
        self.nodes[node].disks.iter().map(|disk| disk.queue.len()).max().unwrap_or(0)
    }

    fn stop_for(&mut self, node: usize, lasting: Duration) {
        let ring = self.ring.clone();
        let poisoned = self.nodes[node].disks.iter().any(|disk| disk.store.poisoned().is_some());
        if poisoned {
            return self.crash_for(node, lasting);
        }
        let process = self.nodes[node].stop(&ring);
        self.tallies.note(Sometimes::CleanlyRestarted);
        self.died(node, process, lasting);
    }

    /// Whether a node may lose something, within the plan's budget; if so, it is noted that it does.
    fn may_lose(&mut self, node: usize) -> bool {
        let losing = &mut self.truth.losing;
        let may = losing.contains(&node) || losing.len() < self.plan.faults.losing_nodes as usize;
        if may {
            losing.insert(node);
        }
        may
    }

    fn lose_power(&mut self, node: usize, lasting: Duration) {
        if !self.may_lose(node) {
            return;
        }
        let begun = self.faults.index("turns that were begun", self.longest_queue(node) + 1);
        let process = self.nodes[node].die(begun);
        if 0 < self.nodes[node].lose_power(&mut self.faults) {
            self.tallies.note(Sometimes::PowerLost);
        }
        self.died(node, process, lasting);
    }

    fn black_out(&mut self, lasting: Duration) {
        let running: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].process.is_some()).collect();
        running.into_iter().for_each(|node| self.lose_power(node, lasting));
    }

    fn replace_disks(&mut self, node: usize, lasting: Duration) {
        if !self.may_lose(node) {
            return;
        }
        self.tallies.note(Sometimes::DiskReplaced);
        self.truth.disks_lost.insert(node);
        let process = self.nodes[node].die(0);
        self.nodes[node].replace_disks();
        self.died(node, process, lasting);
    }

    fn died(&mut self, node: usize, process: Option<crate::node::Process>, lasting: Duration) {
        let Some(process) = process else { return };
        self.streams.push(process.stream);
        self.disconnect_all(node);
        self.disconnect_clients(node);
        self.queue.push(self.now + lasting, Event::Start { node });
    }

    /// A machine is switched on.
    pub(super) fn start(&mut self, node: usize) {
        if self.nodes[node].process.is_some() {
            return;
        }
        let life = self.nodes[node].life;
        let stream = self.choices.stream(format!("node {} life {life}", node + 1));
        let ring = Arc::clone(&self.ring);
        let machine = &mut self.nodes[node];
        machine.start(&self.plan, &ring, stream);
        // What a dying process had begun to write may be there or not; now it shows.
        for disk in &mut machine.disks {
            disk.unsynced = disk.store.entries(Column::DotLog).map(|(key, _)| key.clone()).collect();
            self.dots.note_flushed(machine.id, disk.unsynced.iter().cloned());
        }
        let pause = Duration::from_micros(self.plan.disk.background_sync_micros);
        self.queue.push(self.now + pause, Event::BackgroundSync { node, life });
        self.trace(|| format!("n{} starts", node + 1));
        self.connect_all(node);
    }

    /// A store has failed for good: the operator starts the process again.
    pub(super) fn storage_failed(&mut self, node: usize, reason: &str) {
        self.tallies.note(Sometimes::StorageFailed);
        self.trace(|| format!("the store of n{} failed: {reason}", node + 1));
        self.with_process(node, |process| process.doomed = true);
    }

    fn partition(&mut self, lasting: Duration) {
        let side: Vec<bool> = (0..self.nodes.len()).map(|_| self.faults.chance("side", 500)).collect();
        let pairs: Vec<_> = self.pairs().filter(|[one, other]| side[*one] != side[*other]).collect();
        self.cut_for(pairs, lasting);
    }

    fn cut_links(&mut self, lasting: Duration) {
        let all: Vec<_> = self.pairs().collect();
        let pairs = all.into_iter().filter(|_| self.faults.chance("cut", 300)).collect();
        self.cut_for(pairs, lasting);
    }

    fn cut_for(&mut self, pairs: Vec<[usize; 2]>, lasting: Duration) {
        if !pairs.is_empty() {
            self.tallies.note(Sometimes::Partitioned);
            self.cut(&pairs);
            self.queue.push(self.now + lasting, Event::Mend { pairs });
        }
    }

    fn pairs(&self) -> impl Iterator<Item = [usize; 2]> + use<> {
        let nodes = self.nodes.len();
        (0..nodes).flat_map(move |one| (one + 1..nodes).map(move |other| [one, other]))
    }

    fn cut_client(&mut self, lasting: Duration) {
        let client = self.faults.index("client", self.clients.len());
        let nodes: Vec<usize> = (0..self.nodes.len()).filter(|_| self.faults.chance("cut off", 500)).collect();
        if nodes.is_empty() {
            return;
        }
        self.tallies.note(Sometimes::ClientCutOff);
        for node in &nodes {
            self.disconnect_client(client, *node);
            self.clients[client].links[*node].cuts += 1;
        }
        self.queue.push(self.now + lasting, Event::MendClient { client, nodes });
    }

    fn reset(&mut self, node: usize) {
        if 1 < self.nodes.len() {
            let peer = (node + 1 + self.faults.index("peer", self.nodes.len() - 1)) % self.nodes.len();
            self.tallies.note(Sometimes::Reset);
            self.break_link(node, peer);
        }
    }

    fn reset_client(&mut self, node: usize) {
        let client = self.faults.index("client", self.clients.len());
        self.disconnect_client(client, node);
    }

    /// All faults end at once: what is cut is mended, what is down is started. Only pauses go on to their end, for what waits for
    /// it must not be overtaken.
    pub(super) fn heal(&mut self) {
        self.healed = true;
        for node in 0..self.nodes.len() {
            self.nodes[node].slow_until = self.now;
            self.with_process(node, |process| process.doomed = false);
            if self.nodes[node].failing {
                self.crash_for(node, Duration::from_millis(1));
            }
            if self.nodes[node].process.is_none() {
                self.queue.push(self.now, Event::Start { node });
            }
        }
        self.mend_all();
    }
}
