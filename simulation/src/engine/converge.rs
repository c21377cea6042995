//! O6 and O13 of replicas that nobody reads or writes: anti-entropy alone makes them the same, and then keeps nothing that only those who
//! lag behind would need.

use std::time::Duration;

use quorate_node::limits::{EXCHANGE_INTERVAL, EXCHANGE_TIMEOUT};
use quorate_node::replica::layout;
use quorate_node::storage::Column;
use quorate_ring::PartitionId;

use super::{Simulation, index_of};
use crate::oracle::{Oracle, Violation};

/// How long replicas may take to become the same when all is well, and how often it is looked.
const CONVERGE: Duration = Duration::from_secs(60);
const CONVERGE_STEP: Duration = Duration::from_millis(500);
/// After this nothing is left that only those who lag behind would need: an exchange whose answer was lost is given up, and a few
/// comparisons follow, after each of which a replica may forget what the others have told in it.
const REST: Duration = EXCHANGE_TIMEOUT.saturating_add(EXCHANGE_INTERVAL.saturating_mul(4));

impl Simulation {
    /// O6: with nobody reading or writing, anti-entropy alone makes all replicas know the same, in bounded time.
    pub(super) fn converge(&mut self) -> Result<(), Violation> {
        let until = self.now + CONVERGE;
        loop {
            let different = self.different();
            match different {
                None => return Ok(()),
                Some(what) if until <= self.now => return Err(Violation::new(Oracle::Convergence, what)),
                Some(_) => self.run_until(self.now + CONVERGE_STEP)?,
            }
        }
    }

    /// A partition whose replicas do not know the same, or whose replica may still lack something; those with a copy that rotted, which
    /// nobody can read, apart.
    fn different(&self) -> Option<String> {
        let count = self.ring.partitions();
        for partition in
            (0..count.get()).map(|number| PartitionId::new(u16::try_from(number).expect("a partition's number")))
        {
            if self.has_rotten(partition) {
                continue;
            }
            let replicas = self.ring.primaries(partition).map(index_of).filter_map(|node| {
                let shard = self.nodes[node].slices(&self.ring).shard_of(partition);
                let process = self.nodes[node].process.as_ref()?;
                Some((node, process.shards[usize::from(shard)].replica()))
            });
            let replicas: Vec<_> = replicas.collect();
            for pair in replicas.windows(2) {
                let [(one, first), (other, second)] = [pair[0], pair[1]];
                let clocks = [first, second].map(|replica| replica.clocks().live(partition));
                if clocks[0] != clocks[1] {
                    let [one, other] = [one, other].map(|node| self.nodes[node].id);
                    return Some(format!(
                        "{partition}: the clock of {one} is {:?}, of {other} {:?}",
                        clocks[0], clocks[1]
                    ));
                }
            }
            if let Some((node, _)) = replicas.iter().find(|(_, replica)| !replica.is_complete_for(partition)) {
                return Some(format!("{} has not caught up with {partition}", self.nodes[*node].id));
            }
        }
        None
    }

    /// Waits until what only those who lag behind would need is gone.
    pub(super) fn leave_nothing(&mut self) -> Result<(), Violation> {
        let until = self.now + REST;
        while self.check_leftovers().is_err() && self.now < until {
            self.run_until(self.now + CONVERGE_STEP)?;
        }
        self.check_leftovers()
    }

    /// O13: replicas that are the same log no events any more. Where events that nobody has any more left a gap in a clock, what came after it
    /// must be remembered.
    fn check_leftovers(&self) -> Result<(), Violation> {
        let nodes = self.nodes.iter().filter(|machine| machine.process.is_some());
        for (machine, disk) in nodes.flat_map(|machine| machine.disks.iter().map(move |disk| (machine, disk))) {
            let clock = |partition: PartitionId| {
                let shard = machine.slices(&self.ring).shard_of(partition);
                let process = machine.process.as_ref().expect("it runs");
                process.shards[usize::from(shard)].replica().clocks().live(partition).clone()
            };
            let settled = |partition: PartitionId| {
                let held = self.ring.is_primary(machine.id, partition);
                held && !self.has_rotten(partition) && !clock(partition).has_gaps()
            };
            for (place, _) in disk.store.entries(Column::DotLog) {
                let partition = PartitionId::new(u16::from_be_bytes([place[0], place[1]]));
                if settled(partition) {
                    let what = format!("{} still logs an event of {partition} that all replicas have", machine.id);
                    return Err(Violation::new(Oracle::Bounds, what));
                }
            }
        }
        Ok(())
    }

    /// Whether a replica of a partition has an object that cannot be read.
    pub(super) fn has_rotten(&self, partition: PartitionId) -> bool {
        let (from, until) = layout::partition(self.ring.partitions(), partition);
        let stores = self.nodes.iter().flat_map(|node| &node.disks).map(|disk| &disk.store);
        let mut rotten = stores.flat_map(|store| store.rotten(Column::Objects));
        rotten.any(|key| from <= *key && until.as_ref().is_none_or(|until| key < until))
    }
}
