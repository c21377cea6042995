//! The first ring: every member's turns spread evenly around it, in an order that changes from turn to turn.
//!
//! A fixed order would make the same few nodes each other's replicas and fallbacks throughout, so that they alone would bear
//! what a failed node leaves. So each turn is due at a point drawn from its even interval, the earliest due goes first, and
//! whoever would be too close to itself waits. A node or zone that needs every place it may have is due exactly.

use super::arrangement::Arrangement;
use super::generator::Generator;
use super::target::Targets;

/// Something that has turns: a member, or a zone of members.
struct Turns {
    /// How many are left.
    left: usize,
    taken: usize,
    /// The even distance between two of them.
    interval: f64,
    /// How far into its interval a turn may be put off, from 0 to 1.
    slack: f64,
    /// When the next is due.
    due: f64,
}

impl Turns {
    /// `count` turns in the ring, of which there could be at most `max`.
    fn new(partitions: usize, count: usize, max: f64, generator: &mut Generator) -> Self {
        let interval = partitions as f64 / count.max(1) as f64;
        let slack = (1.0 - count as f64 / max).max(0.0);
        let mut turns = Self { left: count, taken: 0, interval, slack, due: 0.0 };
        turns.draw(generator);
        turns
    }

    fn take(&mut self, generator: &mut Generator) {
        self.left -= 1;
        self.taken += 1;
        self.draw(generator);
    }

    fn draw(&mut self, generator: &mut Generator) {
        self.due = (self.taken as f64 + self.slack * generator.fraction()) * self.interval;
    }
}

/// Gives every partition an owner, each member as many as its target.
pub(super) fn arrange(arrangement: &mut Arrangement, targets: &Targets) {
    let mut generator = Generator::new(arrangement.partitions() as u64);
    let partitions = arrangement.partitions();
    let node_max = partitions as f64 / arrangement.n() as f64;
    let zone_max = node_max * arrangement.zone_share_max() as f64;
    let mut members_by_zone = vec![Vec::new(); targets.counts().len()];
    for (member, zone) in arrangement.zones().iter().enumerate() {
        members_by_zone[usize::from(*zone)].push(member as u16);
    }
    members_by_zone.retain(|members| !members.is_empty());
    let in_zone = |members: &Vec<u16>| members.iter().map(|member| targets.counts()[usize::from(*member)]).sum();
    let turns = |count: usize, max, generator: &mut Generator| Turns::new(partitions, count, max, generator);
    let mut zones: Vec<Turns> =
        members_by_zone.iter().map(|members| turns(in_zone(members), zone_max, &mut generator)).collect();
    let mut nodes: Vec<Turns> = targets.counts().iter().map(|count| turns(*count, node_max, &mut generator)).collect();
    for partition in 0..partitions {
        let next = next_fitting(arrangement, partition, &zones, &nodes, &members_by_zone);
        let (zone, member) = next.unwrap_or_else(|| least_crowding(arrangement, partition, &nodes, &members_by_zone));
        zones[zone].take(&mut generator);
        nodes[usize::from(member)].take(&mut generator);
        arrangement.assign(partition, member);
    }
}

/// The member whose turn is due first, of the zone whose turn is due first, of those that fit.
fn next_fitting(
    arrangement: &Arrangement,
    partition: usize,
    zones: &[Turns],
    nodes: &[Turns],
    members_by_zone: &[Vec<u16>],
) -> Option<(usize, u16)> {
    let mut best: Option<(usize, u16)> = None;
    for (zone, turns) in zones.iter().enumerate().filter(|(_, turns)| 0 < turns.left) {
        if best.is_some_and(|(best, _)| zones[best].due <= turns.due) {
            continue;
        }
        let waiting = members_by_zone[zone].iter().copied().filter(|member| 0 < nodes[usize::from(*member)].left);
        let fitting = waiting.filter(|member| arrangement.fits(*member, partition));
        let by_due = |one: &u16, other: &u16| nodes[usize::from(*one)].due.total_cmp(&nodes[usize::from(*other)].due);
        if let Some(member) = fitting.min_by(by_due) {
            best = Some((zone, member));
        }
    }
    best
}

/// When nobody fits: who does the least harm, for the repair to mend.
fn least_crowding(
    arrangement: &Arrangement,
    partition: usize,
    nodes: &[Turns],
    members_by_zone: &[Vec<u16>],
) -> (usize, u16) {
    let all = members_by_zone
        .iter()
        .enumerate()
        .flat_map(|(zone, members)| members.iter().map(move |member| (zone, *member)));
    all.filter(|(_, member)| 0 < nodes[usize::from(*member)].left)
        .min_by_key(|(_, member)| arrangement.crowding(*member, partition))
        .expect("targets add up to Q, so somebody has a turn left")
}
