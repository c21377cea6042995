//! O6 and O13 of replicas that nobody reads or writes: anti-entropy alone makes them the same, and then keeps nothing that only those who
//! lag behind would need.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use quorate_node::limits::{EXCHANGE_INTERVAL, EXCHANGE_TIMEOUT};
use quorate_node::replica::layout;
use quorate_node::storage::Column;
use quorate_ring::{NodeId, PartitionId, Position};

use super::{Simulation, index_in_plan, index_of};
use crate::node::{Node, SCRUB};
use crate::oracle::{Oracle, Violation};
use crate::plan::fault::Fault;

/// How long replicas may take to become the same when all is well, and how often it is looked.
///
/// A key that cannot be read, and that had an event nobody else has, is given up after half a minute.
const CONVERGE: Duration = Duration::from_secs(120);
const CONVERGE_STEP: Duration = Duration::from_millis(500);
/// After this nothing is left that only those who lag behind would need: an exchange whose answer was lost is given up, and a few
/// comparisons follow, after each of which a replica may forget what the others have told in it; gaps that nobody can fill are closed when they
/// have stood for a horizon; and the sweep goes through everything.
const REST: Duration = EXCHANGE_TIMEOUT
    .saturating_add(EXCHANGE_INTERVAL.saturating_mul(4))
    .saturating_add(SCRUB.horizon.saturating_mul(2))
    .saturating_add(SCRUB.round);

impl Simulation {
    /// O6: with nobody reading or writing, anti-entropy alone makes all replicas know the same, in bounded time.
    pub(super) fn converge(&mut self) -> Result<(), Violation> {
        let mut until = self.now + CONVERGE;
        while let Some(what) = self.different() {
            if self.now < until {
                self.run_until(self.now + CONVERGE_STEP)?;
            } else if self.replace_the_unreadable()? {
                until = self.now + CONVERGE;
            } else {
                return Err(Violation::new(Oracle::Convergence, what));
            }
        }
        Ok(())
    }

    /// Does what a node asks its operator to do if it says that it cannot read a part of its store at all: it begins on empty disks. `false` if
    /// none says so. What rotted of a key that all others have removed, or lost, nobody can name, and so nobody mends.
    fn replace_the_unreadable(&mut self) -> Result<bool, Violation> {
        let says = |machine: &Node| {
            let shards = machine.process.iter().flat_map(|process| &process.shards);
            let rotten = machine.disks.iter().any(|disk| disk.store.rotten(Column::Objects).next().is_some());
            rotten && shards.map(|shard| shard.scrub().counters.pages_unreadable).any(|pages| 0 < pages)
        };
        let alone = self.truth.n == 1;
        let Some(node) = self.nodes.iter().position(says).filter(|_| !alone) else { return Ok(false) };
        self.replace_disks(node, Duration::ZERO);
        self.run_until(self.now + CONVERGE_STEP)?;
        Ok(true)
    }

    /// What is not yet as it has to be in the end.
    fn different(&self) -> Option<String> {
        let unreadable = || self.unreadable().map(|what| format!("cannot be read: {what}"));
        let contents = || self.check_convergence().err().map(|violation| violation.to_string());
        self.different_clocks().or_else(unreadable).or_else(contents)
    }

    /// A partition whose replicas do not know the same, or whose replica may still lack something.
    fn different_clocks(&self) -> Option<String> {
        for partition in self.ring.partitions().partitions() {
            if self.is_past_mending(partition) {
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

    /// A key that cannot be read, of those that the sweep must have found. Which keys are in what it cannot read it learns from the other
    /// replicas; of one that they have nothing of any more nobody can tell it, and only who asks for it meets it.
    fn unreadable(&self) -> Option<String> {
        let rotten = |machine: &Node| {
            let stores = machine.disks.iter().map(|disk| &disk.store);
            let mut places = stores.flat_map(|store| store.rotten(Column::Objects));
            let others = || self.nodes.iter().filter(|other| other.id != machine.id).flat_map(|other| &other.disks);
            let mendable = |place: &&Bytes| {
                let key = layout::object_key(place).expect("a shard stores objects under their keys");
                !self.is_past_mending(self.ring.partition_of(Position::of(&key)))
                    && others().any(|disk| disk.store.value(Column::Objects, place).is_some())
            };
            places.find(mendable).map(|place| format!("{}: {:?}", machine.id, layout::object_key(place)))
        };
        self.nodes.iter().find_map(rotten)
    }

    /// How many ranges were found to differ under the same clock.
    pub(super) fn ranges_differing(&self) -> u64 {
        let shards = self.nodes.iter().filter_map(|node| node.process.as_ref()).flat_map(|process| &process.shards);
        shards.map(|shard| shard.scrub().counters.ranges_differing).sum()
    }

    /// Disks forget what the plan says, once nothing else is going on: then a scrub must find out, though all clocks are the same.
    pub(super) fn forget(&mut self) -> Result<(), Violation> {
        let before = self.ranges_differing();
        if 0 < before {
            let what = format_args!(
                "contents differed {before} times under the same clock, and no disk had forgotten anything"
            );
            return Err(Violation::new(Oracle::Convergence, what));
        }
        let mut forgotten = BTreeSet::new();
        for fault in self.plan.faults.clone() {
            if let Fault::Forget { node, key } = fault.fault
                && self.plan.cluster.sweeps
                && !forgotten.contains(&key)
                && !self.is_past_mending(self.ring.partition_of(Position::of(&self.truth.keys[key].key)))
                && self.forget_object(index_in_plan(node), key)
            {
                forgotten.insert(key);
            }
        }
        if forgotten.is_empty() { Ok(()) } else { self.converge() }
    }

    /// Waits until what only those who lag behind would need is gone.
    pub(super) fn leave_nothing(&mut self) -> Result<(), Violation> {
        let mut until = self.now + REST;
        while let Err(left) = self.check_leftovers() {
            if self.now < until {
                self.run_until(self.now + CONVERGE_STEP)?;
            } else if self.replace_the_unreadable()? {
                self.converge()?;
                until = self.now + REST;
            } else {
                return Err(left);
            }
        }
        Ok(())
    }

    /// O13: replicas that are the same log no events any more, and, if they sweep, no clock has gaps (those that nobody can fill are closed),
    /// nothing is stored that the clock says anyway, and what a replica knows beyond the clock all others do.
    fn check_leftovers(&self) -> Result<(), Violation> {
        self.check_gaps()?;
        self.check_known()?;
        let nodes = self.nodes.iter().filter(|machine| machine.process.is_some());
        for (machine, disk) in nodes.flat_map(|machine| machine.disks.iter().map(move |disk| (machine, disk))) {
            let clock = |partition: PartitionId| {
                let shard = machine.slices(&self.ring).shard_of(partition);
                let process = machine.process.as_ref().expect("it runs");
                process.shards[usize::from(shard)].replica().clocks().live(partition)
            };
            let held = |partition: PartitionId| {
                self.ring.is_primary(machine.id, partition) && !self.is_past_mending(partition)
            };
            for (place, _) in disk.store.entries(Column::DotLog) {
                let partition = PartitionId::new(u16::from_be_bytes([place[0], place[1]]));
                let closed = self.closes_gaps(partition) || !clock(partition).has_gaps();
                if held(partition) && closed {
                    let what = format!("{} still logs an event of {partition} that all replicas have", machine.id);
                    return Err(Violation::new(Oracle::Bounds, what));
                }
            }
            let swept = disk.store.entries(Column::Objects).filter(|_| self.plan.cluster.sweeps);
            for (place, stored) in swept {
                let key = layout::object_key(place).expect("a shard stores objects under their keys");
                let partition = self.ring.partition_of(Position::of(&key));
                let Some(container) = layout::decode_container(stored).ok().filter(|_| held(partition)) else {
                    continue;
                };
                let mut stripped = container.clone();
                stripped.strip(clock(partition).base());
                if stripped.vector() != container.vector() || stripped.is_empty() {
                    let what = format!("{} stores of {key:?} what its clock says anyway: {container:?}", machine.id);
                    return Err(Violation::new(Oracle::Bounds, what));
                }
            }
        }
        Ok(())
    }

    /// No clock has gaps, where they can be closed.
    fn check_gaps(&self) -> Result<(), Violation> {
        for (machine, process) in self.nodes.iter().filter_map(|machine| Some((machine, machine.process.as_ref()?))) {
            for partition in self.ring.partitions_of(machine.id) {
                let shard = usize::from(machine.slices(&self.ring).shard_of(partition));
                let clock = process.shards[shard].replica().clocks().live(partition);
                if clock.has_gaps() && self.closes_gaps(partition) {
                    let what = format!("the clock of {} has gaps in {partition}: {clock:?}", machine.id);
                    return Err(Violation::new(Oracle::Bounds, what));
                }
            }
        }
        Ok(())
    }

    /// O6: all replicas of a key know the same events of it, also those that no clock has. A repair brings such to one replica alone, if the
    /// node whose event it was then loses it; the sweep brings them to the others.
    fn check_known(&self) -> Result<(), Violation> {
        for truth in &self.truth.keys {
            let partition = self.ring.partition_of(Position::of(&truth.key));
            if !self.closes_gaps(partition) {
                continue;
            }
            let known = |node: NodeId| {
                let held = self.container(index_of(node), &truth.key)?;
                Ok((node, held.map(|held| held.vector().clone()).unwrap_or_default()))
            };
            let running = |node: &NodeId| self.nodes[index_of(*node)].process.is_some();
            let known: Vec<_> = self.ring.primaries(partition).filter(running).map(known).collect::<Result<_, _>>()?;
            if let Some([(one, first), (other, second)]) = known.windows(2).find(|pair| pair[0].1 != pair[1].1) {
                let what = format!("of {:?} {one} knows {first:?} beyond its clock, and {other} {second:?}", truth.key);
                return Err(Violation::new(Oracle::Convergence, what));
            }
        }
        Ok(())
    }

    /// Whether gaps of a partition can be closed: nodes sweep, and no replica has a key that it cannot read, for then it cannot share what it
    /// knows of it.
    fn closes_gaps(&self, partition: PartitionId) -> bool {
        self.plan.cluster.sweeps && self.rotten_in(partition).is_empty()
    }

    /// Whether a partition has a key that no two replicas can read, or that has one replica only: what rotted of it stays refused.
    pub(super) fn is_past_mending(&self, partition: PartitionId) -> bool {
        let copies = if self.truth.n == 1 { 1 } else { 2 };
        self.rotten_in(partition).chunk_by(|one, other| one == other).any(|same| copies <= same.len())
    }

    /// The keys of a partition that cannot be read, in order, each as often as there are replicas that cannot.
    fn rotten_in(&self, partition: PartitionId) -> Vec<&Bytes> {
        let (from, until) = layout::partition(self.ring.partitions(), partition);
        let stores = self.nodes.iter().flat_map(|node| &node.disks).map(|disk| &disk.store);
        let rotten = stores.flat_map(|store| store.rotten(Column::Objects));
        let mut inside: Vec<&Bytes> =
            rotten.filter(|key| from <= **key && until.as_ref().is_none_or(|until| *key < until)).collect();
        inside.sort_unstable();
        inside
    }
}
