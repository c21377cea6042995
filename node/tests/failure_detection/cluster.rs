//! A dumb cluster of failure detectors: one queue of events in virtual time, seeded delays and losses. It knows nothing of the protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;
use quorate_node::Time;
use quorate_node::membership::{Detector, Life, Output, Pace, Standing};
use quorate_ring::NodeId;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// A node changed its mind about another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) at: Time,
    pub(crate) observer: usize,
    pub(crate) node: usize,
    pub(crate) standing: Standing,
}

struct Machine {
    /// `None` after a crash.
    detector: Option<Detector>,
    life: u64,
    /// Until then it does nothing, and what comes waits.
    paused_until: Time,
    /// How long what comes may wait in it, at most.
    slowness: Duration,
    wake_at: Option<Time>,
}

enum Event {
    Deliver { source: usize, target: usize, datagram: Bytes },
    Wake { node: usize },
}

pub(crate) struct Cluster {
    pub(crate) now: Time,
    pub(crate) changes: Vec<Change>,
    /// Bytes and datagrams sent by all nodes.
    pub(crate) bytes: u64,
    pub(crate) datagrams: u64,
    /// Of a hundred datagrams, how many are lost.
    pub(crate) loss_percent: u32,
    machines: Vec<Machine>,
    events: BTreeMap<(Time, u64), Event>,
    next_number: u64,
    cut: BTreeSet<(usize, usize)>,
    random: ChaCha8Rng,
    history: DefaultHasher,
}

pub(crate) fn node_id(index: usize) -> NodeId {
    NodeId::new(u32::try_from(index + 1).expect("few nodes")).expect("from 1")
}

fn index(node: NodeId) -> usize {
    node.number() as usize - 1
}

impl Cluster {
    /// Nodes that have all greeted each other, and have run for a period.
    pub(crate) fn new(size: usize, seed: u64) -> Self {
        let mut cluster = Self::of_strangers(size, seed);
        for observer in 0..size {
            for node in (0..size).filter(|node| *node != observer) {
                cluster.with(observer, |detector, now| detector.introduce(now, node_id(node), Life::new(1)));
            }
        }
        cluster.run_for(Pace::default().probe_period());
        cluster.forget();
        cluster
    }

    /// Nodes that know nobody. They start within a period of each other, as real ones would.
    pub(crate) fn of_strangers(size: usize, seed: u64) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        let mut cluster = Self {
            now: Time::default(),
            changes: Vec::new(),
            bytes: 0,
            datagrams: 0,
            loss_percent: 0,
            machines: Vec::new(),
            events: BTreeMap::new(),
            next_number: 0,
            cut: BTreeSet::new(),
            random,
            history: DefaultHasher::new(),
        };
        for node in 0..size {
            let machine = Machine {
                detector: None,
                life: 0,
                paused_until: Time::default(),
                slowness: Duration::ZERO,
                wake_at: None,
            };
            cluster.machines.push(machine);
            cluster.start(node);
        }
        cluster
    }

    /// Starts a node, in the next of its lives.
    pub(crate) fn start(&mut self, node: usize) {
        let seed = self.random.random();
        let machine = &mut self.machines[node];
        machine.life += 1;
        machine.wake_at = None;
        let life = Life::new(machine.life);
        machine.detector = Some(Detector::new(self.now, node_id(node), life, seed, Pace::default()));
        // So that nodes which begin at once do not probe at once.
        machine.paused_until = self.now + Duration::from_micros(self.random.random_range(0..1_000_000));
        self.settle(node);
    }

    /// A node's store is lost, and with it how often it was started.
    pub(crate) fn forget_lives(&mut self, node: usize) {
        self.machines[node].life = 0;
    }

    pub(crate) fn crash(&mut self, node: usize) {
        self.machines[node].detector = None;
    }

    pub(crate) fn pause(&mut self, node: usize, time: Duration) {
        self.machines[node].paused_until = self.now + time;
    }

    pub(crate) fn slow_down(&mut self, node: usize, slowness: Duration) {
        self.machines[node].slowness = slowness;
    }

    /// Nothing comes from one to the other any more.
    pub(crate) fn cut(&mut self, source: usize, target: usize) {
        self.cut.insert((source, target));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn announce(&mut self, node: usize, to: usize) {
        self.with(node, |detector, now| detector.announce(now, node_id(to)));
    }

    /// Forgets what happened until now, but not the history.
    pub(crate) fn forget(&mut self) {
        self.changes.clear();
        self.bytes = 0;
        self.datagrams = 0;
    }

    pub(crate) fn size(&self) -> usize {
        self.machines.len()
    }

    pub(crate) fn detector(&self, node: usize) -> &Detector {
        self.machines[node].detector.as_ref().expect("it runs")
    }

    /// Whether all running nodes think this of a node.
    pub(crate) fn all_think(&self, node: usize, standing: Standing) -> bool {
        (0..self.size())
            .filter(|observer| *observer != node && self.machines[*observer].detector.is_some())
            .all(|observer| self.detector(observer).standing(node_id(node)) == Some(standing))
    }

    /// Whether all running nodes think that all running nodes are alive.
    pub(crate) fn all_alive(&self) -> bool {
        (0..self.size())
            .filter(|node| self.machines[*node].detector.is_some())
            .all(|node| self.all_think(node, Standing::Alive))
    }

    /// How often something was thought of nodes.
    pub(crate) fn count(&self, standing: Standing) -> usize {
        self.changes.iter().filter(|change| change.standing == standing).count()
    }

    /// Everything that every node ever put out, and when, as one number.
    pub(crate) fn history(&self) -> u64 {
        self.history.finish()
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until this holds; gives how long that took, or nothing if it took longer than so long.
    pub(crate) fn run_until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> Option<Duration> {
        let (start, pause) = (self.now, Duration::from_millis(50));
        while self.now.since(start) <= limit {
            if holds(self) {
                return Some(self.now.since(start));
            }
            self.run_for(pause);
        }
        None
    }

    fn step(&mut self, end: Time) -> bool {
        let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end) else { return false };
        let ((at, _), event) = entry.remove_entry();
        self.now = at;
        let (Event::Deliver { target: node, .. } | Event::Wake { node }) = event;
        let machine = &mut self.machines[node];
        if machine.detector.is_none() {
            return true;
        }
        if at < machine.paused_until {
            let resumed = machine.paused_until;
            self.schedule(resumed, event);
            return true;
        }
        match event {
            Event::Deliver { source, target, datagram } => self.with(target, |detector, now| {
                detector.handle_datagram(now, node_id(source), &datagram).expect("only well-formed datagrams are sent");
            }),
            Event::Wake { node } => {
                machine.wake_at = None;
                self.with(node, Detector::handle_time);
            }
        }
        true
    }

    fn with(&mut self, node: usize, act: impl FnOnce(&mut Detector, Time)) {
        act(self.machines[node].detector.as_mut().expect("it runs"), self.now);
        self.settle(node);
    }

    fn settle(&mut self, node: usize) {
        while let Some(output) = self.machines[node].detector.as_mut().and_then(Detector::poll_output) {
            self.take(node, output);
        }
        let machine = &mut self.machines[node];
        let Some(detector) = &machine.detector else { return };
        let deadline = detector.next_deadline().max(self.now);
        if machine.wake_at.is_none_or(|wake_at| deadline < wake_at) {
            machine.wake_at = Some(deadline);
            self.schedule(deadline, Event::Wake { node });
        }
    }

    fn take(&mut self, node: usize, output: Output) {
        (self.now.as_micros(), node).hash(&mut self.history);
        match output {
            Output::Send { target, datagram } => {
                datagram.hash(&mut self.history);
                self.send(node, index(target), datagram);
            }
            Output::Changed { node: other, standing } => {
                (other, standing as u8).hash(&mut self.history);
                self.changes.push(Change { at: self.now, observer: node, node: index(other), standing });
            }
        }
    }

    fn send(&mut self, source: usize, target: usize, datagram: Bytes) {
        self.bytes += datagram.len() as u64;
        self.datagrams += 1;
        let lost = self.random.random_range(0..100) < self.loss_percent;
        let waits = u64::try_from(self.machines[target].slowness.as_micros()).expect("short");
        let delay = self.random.random_range(200..2_000) + self.random.random_range(0..=waits);
        if !lost && !self.cut.contains(&(source, target)) {
            self.schedule(self.now + Duration::from_micros(delay), Event::Deliver { source, target, datagram });
        }
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.events.insert((at, self.next_number), event);
        self.next_number += 1;
    }
}
