//! How a run ends: O14, O1 and O6.
//!
//! First a core of the nodes is healed while the others are down: it must serve everything that it has a quorum for. Then all are
//! healed, and every key is read from all its replicas: each read must succeed and show every acknowledged write; repaired by
//! these reads, all replicas must hold the same, a write to all of them must be acknowledged, and then nothing must go on any more.
//! Where values expire, all clocks are then set to a time when all have, and nothing of them must be left (O9).

use std::time::Duration;

use quorate_node::Time;
use quorate_node::handoff::hint::layout as hint;
use quorate_node::replica::layout;
use quorate_node::storage::Column;
use quorate_ring::version::{Container, Dot};
use quorate_ring::{ObjectKey, Position, StoredValue};

use super::{Phase, Simulation, index_in_plan, index_of};
use crate::client::Needed;
use crate::oracle::{Oracle, Violation, bounds, convergence, expired};
use crate::plan::load::{Action, Get, GetMany, Put, Whom};
use crate::sometimes::Sometimes;

/// Every request of the load is over by then, and every connection is there again.
const SETTLE: Duration = Duration::from_secs(2);
/// How long a node stands still of which nobody knows: longer than what the others are asked meanwhile takes.
const GRAY: Duration = Duration::from_secs(30);
/// How many keys a batch is tried on.
const BATCH: usize = 8;
/// All that was kept for others is handed over by so long after everything is healed.
const HAND_OVER: Duration = Duration::from_secs(120);
/// How long a request may take when nothing is in its way.
const CALM: Duration = Duration::from_secs(5);

impl Simulation {
    /// Heals everything and checks what must then be so.
    pub(super) fn finish(&mut self) -> Result<(), Violation> {
        self.clients.iter_mut().zip(&self.plan.clients).for_each(|(client, plan)| client.next = plan.steps.len());
        if self.members.founding().is_some() {
            self.tell(|story, at| story.phase(at, "changes of members are carried out"));
            self.heal_all();
            self.calm_down()?;
            self.carry_out()?;
        }
        let without: Vec<usize> = self.plan.cluster.core_without.iter().map(|node| index_in_plan(*node)).collect();
        self.tell(|story, at| story.phase(at, "a core heals"));
        self.heal_core(&without);
        self.calm_down()?;
        self.check_core()?;
        self.tell(|story, at| story.phase(at, "everything heals"));
        self.heal_all();
        self.calm_down()?;
        self.hand_over()?;
        self.tell(|story, at| story.phase(at, "replicas converge"));
        self.converge()?;
        self.check_convergence()?;
        self.leave_nothing()?;
        // What a replica could not take because its copy had rotted it can now.
        self.hand_over()?;
        self.forget()?;
        self.tell(|story, at| story.phase(at, "checks"));
        self.read_all()?;
        self.check_batches()?;
        self.run_until(self.now + SETTLE)?;
        self.check_convergence()?;
        self.check_applied()?;
        self.check_expiry()?;
        if 0 < self.readable(0) {
            let w = Some(self.holders(0).count().try_into().expect("at most N"));
            self.must(Action::Put(Put { w, ..Put::default() }), Whom::Best)?;
        }
        self.check_forwarding()?;
        self.calm_down()?;
        self.hand_over()?;
        self.converge()?;
        self.check_scrubbed()?;
        self.check_idle()
    }

    /// O5, by the sweep: on disks that keep what they are given it finds nothing to put back, for the protocol loses nothing that clocks know.
    fn check_scrubbed(&mut self) -> Result<(), Violation> {
        let shards = || self.nodes.iter().filter_map(|node| node.process.as_ref()).flat_map(|process| &process.shards);
        let mended: u64 = shards().map(|shard| shard.replica().mended()).sum();
        let tidied: u64 = shards().map(|shard| shard.scrub().counters.tidied).sum();
        let closed: u64 = shards().map(|shard| shard.scrub().closing.closed).sum();
        let differing = self.ranges_differing();
        let counts = [
            (closed, Sometimes::GapClosed),
            (mended, Sometimes::ObjectMended),
            (tidied, Sometimes::SweepTidied),
            (differing, Sometimes::RangeDiffered),
        ];
        counts.into_iter().filter(|(count, _)| 0 < *count).for_each(|(_, what)| self.tallies.note(what));
        if 0 < mended && !self.plan.faults.iter().any(|fault| fault.fault.damages()) {
            let what = format!("{mended} keys were put back by the sweep, and no disk had damaged any");
            return Err(Violation::new(Oracle::Maximal, what));
        }
        Ok(())
    }

    /// Reads every key from all its replicas.
    fn read_all(&mut self) -> Result<(), Violation> {
        for key in 0..self.truth.keys.len() {
            let r = self.readable(key);
            if 0 < r {
                self.must(Action::Get(Get { key, r: Some(r), repaired: false }), Whom::Best)?;
            }
        }
        Ok(())
    }

    /// O9: when the time of every value has come on all clocks, and every key has been read, no replica keeps any that expires.
    fn check_expiry(&mut self) -> Result<(), Violation> {
        let Some(last) = self.truth.writes.iter().filter_map(|write| write.expires_at).max() else { return Ok(()) };
        self.tell(|story, at| story.phase(at, "every value that expires has"));
        for machine in &mut self.nodes {
            machine.clock.set_wall(self.now, last.max(machine.clock.wall_at(self.now)));
        }
        self.run_until(self.now + SETTLE)?;
        self.read_all()?;
        self.run_until(self.now + SETTLE)?;
        for (key, truth) in self.truth.keys.iter().enumerate() {
            if self.holders(key).count() == usize::from(self.truth.n) {
                for node in self.holders(key) {
                    let held = (self.nodes[node].id, self.values(node, &truth.key)?);
                    expired::check_kept(&truth.key, &held).map_err(|violation| violation.about(key, &[]))?;
                }
            }
        }
        self.check_convergence()
    }

    fn calm_down(&mut self) -> Result<(), Violation> {
        self.run_until(self.backlog().max(self.now) + SETTLE)
    }

    /// O6: what was kept for others is handed over, and nothing is left of it on any disk, but for what a target cannot take: its copy of
    /// the key rotted, and nothing can be merged with it.
    fn hand_over(&mut self) -> Result<(), Violation> {
        let until = self.now + HAND_OVER;
        while self.now < until && (self.is_counting_hints() || self.kept_for_others().any(|(_, can)| can)) {
            self.run_until(self.now + SETTLE)?;
        }
        let left: Vec<usize> = self.kept_for_others().filter(|(_, can)| *can).map(|(node, _)| node).collect();
        (0..self.nodes.len()).try_for_each(|node| {
            let kept = left.iter().filter(|keeper| **keeper == node).count();
            convergence::check_handed_over(self.nodes[node].id, kept)
        })
    }

    fn is_counting_hints(&self) -> bool {
        let mut shards = self.nodes.iter().filter_map(|node| node.process.as_ref()).flat_map(|process| &process.shards);
        shards.any(|shard| !shard.hints_counted() || 0 < shard.hints_waiting())
    }

    /// Who keeps each hint, and whether the one it is for can take it.
    fn kept_for_others(&self) -> impl Iterator<Item = (usize, bool)> {
        let of = |node: usize| self.nodes[node].disks.iter().map(move |disk| (node, disk));
        let hints = (0..self.nodes.len())
            .flat_map(of)
            .flat_map(|(node, disk)| disk.store.entries(Column::Hints).map(move |(place, _)| (node, place)));
        hints.map(|(node, place)| {
            let (target, key) = hint::target_and_key(place).expect("a shard stores hints under their keys");
            let disks = &self.nodes[index_of(target)].disks;
            (node, !disks.iter().any(|disk| disk.store.is_rotten(Column::Objects, &layout::object(&key))))
        })
    }

    /// Does something that nothing is in the way of.
    fn must(&mut self, action: Action, ask: Whom) -> Result<(), Violation> {
        self.must_as(action, ask, false)
    }

    /// The same, and others may stand in for primaries that are away, if it is sloppy.
    fn must_as(&mut self, action: Action, ask: Whom, sloppy: bool) -> Result<(), Violation> {
        self.clients[0].sloppy = sloppy;
        self.begin_action(0, &action, CALM, ask, Needed::Yes)?;
        while self.clients[0].doing.is_some() {
            self.step()?;
        }
        Ok(())
    }

    /// When every pause is over, and every disk has done what waits for it: a disk that was slow may be long behind.
    fn backlog(&self) -> Time {
        let paused = self.nodes.iter().filter_map(|node| node.process.as_ref()).map(|process| process.paused_until);
        let disks = self.nodes.iter().flat_map(|node| &node.disks).map(|disk| disk.busy_until);
        paused.chain(disks).chain([self.last_arrival()]).max().unwrap_or_default()
    }

    /// O14: what the core has a quorum for is served, though one node stands still and nobody knows. Clients ask another one.
    fn check_core(&mut self) -> Result<(), Violation> {
        let gray = self.plan.cluster.core_gray.map(index_in_plan);
        if let Some(gray) = gray {
            let until = self.now + GRAY;
            self.stand_still(gray, until);
            self.tell_note(gray, || "stands still from here on, and nobody knows".to_owned());
        }
        for key in 0..self.truth.keys.len() {
            let serving: Vec<usize> = self.holders(key).filter(|node| Some(*node) != gray).collect();
            let complete = serving.iter().filter(|node| self.is_complete(**node)).count();
            let ask =
                serving.first().map_or(Whom::Best, |node| Whom::Node(u32::try_from(*node).expect("few nodes") + 1));
            let (r, w) = (self.quorum.r(), self.quorum.w());
            if usize::from(r) <= complete {
                self.must(Action::Get(Get { key, r: Some(r), repaired: false }), ask)?;
            }
            let primaries = self.primaries(key);
            let running =
                (0..self.nodes.len()).filter(|node| self.nodes[*node].process.is_some() && Some(*node) != gray);
            let running = running.filter(|node| self.ring.member(self.nodes[*node].id).is_some());
            let running = running.filter(|node| !primaries.contains(node) || serving.contains(node));
            // Any W nodes are enough for a write, if one of them is a primary to begin with: a node of which nobody knows yet that it stands still
            // may be asked to coordinate.
            // A node may have no room for more, where the plan is narrow.
            let roomy = !self.plan.cluster.hints.is_narrow();
            if roomy && !serving.is_empty() && usize::from(w) <= running.count() && key < self.plan.cluster.keys {
                self.must_as(Action::Put(Put { key, w: Some(w), ..Put::default() }), ask, true)?;
            }
            // What an application wrote to keys of its own is left as it is.
            if usize::from(w) <= serving.len() && key < self.plan.cluster.keys {
                self.must(Action::Put(Put { key, w: Some(w), ..Put::default() }), ask)?;
            }
        }
        Ok(())
    }

    /// O14: batches are answered, too.
    fn check_batches(&mut self) -> Result<(), Violation> {
        let keys: Vec<usize> = (0..self.truth.keys.len()).filter(|key| 0 < self.readable(*key)).take(BATCH).collect();
        match keys.is_empty() {
            true => Ok(()),
            false => self.must(Action::GetMany(GetMany { keys, r: Some(1) }), Whom::Best),
        }
    }

    /// O14: a node that is no primary of a key hands its writes over, and tells its client what became of them.
    fn check_forwarding(&mut self) -> Result<(), Violation> {
        let primaries: Vec<usize> = self.holders(0).collect();
        let other = (0..self.nodes.len()).find(|node| !primaries.contains(node));
        match other.filter(|_| primaries.len() == usize::from(self.truth.n)) {
            Some(node) => {
                let ask = Whom::Node(u32::try_from(node).expect("few nodes") + 1);
                self.must(Action::Put(Put { w: Some(1), ..Put::default() }), ask)
            }
            None => Ok(()),
        }
    }

    fn primaries(&self, key: usize) -> Vec<usize> {
        self.ring.primaries(self.ring.partition_of(Position::of(&self.truth.keys[key].key))).map(index_of).collect()
    }

    /// The primaries of a key that run and can read it.
    pub(super) fn holders(&self, key: usize) -> impl Iterator<Item = usize> {
        let name = &self.truth.keys[key].key;
        let primaries = self.primaries(key).into_iter();
        let place = layout::object(name);
        primaries.filter(move |node| {
            let machine = &self.nodes[*node];
            machine.process.is_some() && !machine.disks.iter().any(|disk| disk.store.is_rotten(Column::Objects, &place))
        })
    }

    /// Whether a node runs and has all that was ever acknowledged from it.
    fn is_complete(&self, node: usize) -> bool {
        let process = self.nodes[node].process.as_ref();
        process.is_some_and(|process| process.shards.iter().all(|shard| shard.replica().is_complete()))
    }

    /// From how many replicas a key can be read when all nodes run: all, unless a copy rotted, whose node cannot answer. Then
    /// replicas that are catching up do not count either.
    fn readable(&self, key: usize) -> u8 {
        let holders = self.holders(key).count();
        let complete = || self.holders(key).filter(|node| self.is_complete(*node)).count();
        let r = if holders == usize::from(self.truth.n) { holders } else { complete() };
        u8::try_from(r).expect("at most N")
    }

    /// O6: all replicas of a key hold the same, but for what has expired and that some have met and others not.
    pub(super) fn check_convergence(&self) -> Result<(), Violation> {
        for (key, truth) in self.truth.keys.iter().enumerate() {
            if self.holders(key).count() == usize::from(self.truth.n) {
                let held = |node: usize| {
                    let mut held = self.values(node, &truth.key)?;
                    held.retain(|(_, stored)| !stored.is_expired(self.truth.wall));
                    Ok((self.nodes[node].id, held))
                };
                let replicas: Vec<_> = self.holders(key).map(held).collect::<Result<_, Violation>>()?;
                convergence::check(&truth.key, &replicas).map_err(|violation| violation.about(key, &[]))?;
            }
        }
        Ok(())
    }

    /// What a node's store holds of a key.
    pub(super) fn values(&self, node: usize, key: &ObjectKey) -> Result<Vec<(Dot, StoredValue)>, Violation> {
        Ok(self.container(node, key)?.into_iter().flat_map(Container::into_values).collect())
    }

    /// What a node's store has under a key, stripped.
    pub(super) fn container(&self, node: usize, key: &ObjectKey) -> Result<Option<Container<StoredValue>>, Violation> {
        let machine = &self.nodes[node];
        let shard = usize::from(machine.slices(&self.ring).shard_of_key(key));
        let stored = machine.disks[shard].store.value(Column::Objects, &layout::object(key));
        let container = stored.map(|stored| layout::decode_container(stored)).transpose();
        container.map_err(|error| Violation::new(Oracle::Convergence, error))
    }

    fn is_rotten(&self) -> bool {
        let mut disks = self.nodes.iter().flat_map(|node| &node.disks);
        disks.any(|disk| disk.store.rotten(Column::Objects).next().is_some())
    }

    /// O6 and O13: when all is done, nothing is sent or stored any more, and nobody waits for anything.
    fn check_idle(&mut self) -> Result<(), Violation> {
        // What cannot be taken is handed over again and again.
        if self.kept_for_others().next().is_some() {
            return Ok(());
        }
        let (was_rotten, mut sent) = (self.is_rotten(), self.sent);
        self.run_until(self.now + SETTLE)?;
        // A copy that rotted keeps its replicas asking for it.
        if self.is_rotten() {
            return Ok(());
        }
        if was_rotten {
            // It was mended meanwhile, and then sent to those who lacked it.
            self.converge()?;
            sent = self.sent;
            self.run_until(self.now + SETTLE)?;
        }
        convergence::check_quiet(self.sent - sent)?;
        for machine in &self.nodes {
            let mut shards = machine.process.iter().flat_map(|process| &process.shards);
            shards.try_for_each(|shard| bounds::check_idle(machine.id, shard))?;
        }
        debug_assert_eq!(self.phase, Phase::Healed);
        Ok(())
    }
}
