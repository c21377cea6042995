//! How a run ends: O14, O1 and O6. When all faults are over, every key is read from all its replicas: each read must succeed and show
//! every acknowledged write; then, repaired by these reads, all replicas must hold the same, and a write to all of them must be acknowledged.

use std::time::Duration;

use quorate_node::Time;
use quorate_node::replica::layout;
use quorate_node::storage::Column;
use quorate_ring::Position;
use quorate_ring::version::Dot;

use super::workload::Asked;
use super::{Simulation, index_of};
use crate::client::Then;
use crate::oracle::truth::Fate;
use crate::oracle::{Oracle, Violation};

/// Every request of the load is over by then, and every connection is there again.
const SETTLE: Duration = Duration::from_secs(2);

impl Simulation {
    /// Heals everything and checks what must then be so.
    pub(super) fn finish(&mut self) -> Result<(), Violation> {
        self.clients.iter_mut().for_each(|client| client.left = 0);
        self.heal();
        let calm = self.backlog().max(self.now) + SETTLE;
        self.run_until(calm)?;
        assert!(self.clients.iter().all(|client| client.doing.is_none()), "requests are over by their deadlines");
        let n = self.plan.quorum.n();
        for key in 0..self.truth.keys.len() {
            self.begin_get(0, key, Some(n), Then::Rest)?;
            while self.clients[0].doing.is_some() {
                self.step()?;
            }
        }
        self.run_until(self.now + SETTLE)?;
        self.check_convergence()?;
        self.check_writable()
    }

    /// A write to all replicas of a key is acknowledged.
    fn check_writable(&mut self) -> Result<(), Violation> {
        let seen = self.clients[0].memory.get(&0).cloned();
        let asked = Asked { r: None, w: Some(self.plan.quorum.n()), durability: None };
        self.begin_write(0, 0, seen, asked)?;
        while self.clients[0].doing.is_some() {
            self.step()?;
        }
        match self.truth.writes.last() {
            Some(write) if write.fate == Fate::Acknowledged => Ok(()),
            last => Err(Violation::new(Oracle::Availability, format_args!("a write to all replicas: {last:?}"))),
        }
    }

    /// When every pause is over, and every disk has done what waits for it: a disk that was slow may be long behind.
    fn backlog(&self) -> Time {
        let paused = self.nodes.iter().filter_map(|node| node.process.as_ref()).map(|process| process.paused_until);
        let busy = self.nodes.iter().flat_map(|node| &node.disks).map(|disk| disk.busy_until);
        paused.chain(busy).max().unwrap_or_default()
    }

    fn check_convergence(&self) -> Result<(), Violation> {
        for truth in &self.truth.keys {
            let partition = self.ring.partition_of(Position::of(&truth.key));
            let mut held: Option<Vec<Dot>> = None;
            for primary in self.ring.primaries(partition) {
                let node = &self.nodes[index_of(primary)];
                let shard = usize::from(node.slices(&self.ring).shard_of(partition));
                let stored = node.disks[shard].store.value(Column::Objects, &layout::object(&truth.key));
                let container = stored.map(|stored| layout::decode_container(stored)).transpose();
                let container = container.map_err(|error| Violation::new(Oracle::Convergence, error))?;
                let dots: Vec<Dot> = container.iter().flat_map(|container| container.dots()).collect();
                match &held {
                    Some(held) if *held != dots => {
                        let what = format!("{:?}: {primary} holds {dots:?}, another {held:?}", truth.key);
                        return Err(Violation::new(Oracle::Convergence, what));
                    }
                    _ => held = Some(dots),
                }
            }
        }
        Ok(())
    }
}
