//! What a node thinks of the others, by its failure detector (`crate::membership`). The first shard runs it, where the members are kept in a layout,
//! and tells the others.
//!
//! A verdict steers whom requests are sent to first, and nothing else: a read asks one that is suspected or down after all others, and one that is down
//! counts as away, though its connection seems up, so that another stands in for it. It is word of mouth, and **what a shard hears itself
//! outweighs it**: who has said something since the verdict is in no doubt, until there is another verdict.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quorate_ring::NodeId;

use super::{Output, Shard, Timer};
use crate::Time;
use crate::membership::{self, Detector, Life, Standing};

/// The first shard's part of failure detection.
pub(super) struct Detection {
    /// Of what it draws from.
    seed: u64,
    /// Nothing before the first input, which tells the time, and in a shard that keeps no layout.
    detector: Option<Box<Detector>>,
    /// When the timer is set for it.
    timer: Option<Time>,
}

impl Detection {
    pub(super) const fn new(seed: u64) -> Self {
        Self { seed, detector: None, timer: None }
    }
}

impl Shard {
    /// What is thought of the others that were heard of, by the last verdict on each.
    pub fn standings(&self) -> &BTreeMap<NodeId, Standing> {
        &self.standings
    }

    /// The failure detector of the node, if this shard runs it.
    pub fn detector(&self) -> Option<&Detector> {
        self.detection.detector.as_deref()
    }

    fn detector_at(&mut self, now: Time) -> Option<&mut Detector> {
        if self.layout().is_some() && self.detection.detector.is_none() {
            // What the store remembers tells a process from those before it, but for those that were stopped in order: the others tell a node
            // how far it had come.
            let life = Life::new(1 + self.config.ancestors.len() as u64);
            let detector = Detector::new(now, self.own(), life, self.detection.seed, self.config.pace);
            self.detection.detector = Some(Box::new(detector));
        }
        self.detection.detector.as_deref_mut()
    }

    /// There is a connection to a peer: it is called, and what was thought of its last process does not hold.
    pub(super) fn meet(&mut self, now: Time, peer: NodeId) {
        self.doubts.remove(&peer);
        if let Some(detector) = self.detector_at(now) {
            detector.announce(now, peer);
        }
    }

    /// A datagram of a peer's detector. One that makes no sense is counted, and has no other effect.
    pub(super) fn handle_datagram(&mut self, now: Time, from: NodeId, datagram: &[u8]) {
        if let Some(detector) = self.detector_at(now) {
            // The detector counts it.
            let _refused = detector.handle_datagram(now, from, datagram);
        }
    }

    pub(super) fn handle_detector_timer(&mut self, now: Time, set: Time) {
        self.detection.timer = self.detection.timer.filter(|at| *at != set);
        if let Some(detector) = &mut self.detection.detector {
            detector.handle_time(now);
        }
    }

    /// Passes on what the detector has to tell, and sets its timer.
    pub(super) fn drive_detector(&mut self, now: Time) {
        let Some(detector) = self.detector_at(now) else { return };
        let (mut datagrams, mut changed) = (Vec::new(), Vec::new());
        while let Some(output) = detector.poll_output() {
            match output {
                membership::Output::Send { target, datagram } => datagrams.push((target, datagram)),
                membership::Output::Changed { node, standing } => changed.push((node, standing)),
            }
        }
        let next = detector.next_deadline();
        datagrams.into_iter().for_each(|(to, datagram)| self.send_datagram(to, datagram));
        if !changed.is_empty() {
            let mut standings = BTreeMap::clone(&self.standings);
            standings.extend(changed);
            let standings = Arc::new(standings);
            self.outputs.push_back(Output::Standings(standings.clone()));
            self.handle_standings(now, standings);
        }
        if self.detection.timer != Some(next) {
            self.detection.timer.map(|at| self.timers.remove(&(at, Timer::Detector)));
            self.detection.timer = Some(next);
            self.timers.insert((next, Timer::Detector));
        }
    }

    /// Nobody is sent anything without a connection.
    fn send_datagram(&mut self, to: NodeId, datagram: Bytes) {
        if self.connected.contains(&to) {
            self.outputs.push_back(Output::Datagram { to, datagram });
        }
    }

    /// What is thought of the others from now on. Only what is thought otherwise than before is news.
    pub(super) fn handle_standings(&mut self, now: Time, standings: Arc<BTreeMap<NodeId, Standing>>) {
        let before = std::mem::replace(&mut self.standings, standings);
        let mut down = Vec::new();
        for (node, standing) in self.standings.iter().filter(|(node, standing)| before.get(node) != Some(standing)) {
            match standing {
                Standing::Alive => self.doubts.remove(node),
                Standing::Suspected | Standing::Down => self.doubts.insert(*node, *standing),
            };
            down.extend((*standing == Standing::Down).then_some(*node));
        }
        self.replace_the_silent(now, &down);
    }

    /// Whether somebody says that a peer cannot be reached, and it has not been heard here since.
    pub(super) fn is_doubted(&self, peer: NodeId) -> bool {
        self.doubts.contains_key(&peer)
    }
}
