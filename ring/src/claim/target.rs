//! How many partitions each member should own.
//!
//! A member's share follows its capacity, as far as it can be used: no node can hold a partition twice, and no zone more than
//! its part of a partition's replicas, so a node owns at most Q / N and a zone at most c * Q / N, c as in
//! [`crate::Ring`]. What a large node or zone cannot use goes to the others by their capacity.

use super::arrangement::Arrangement;
use crate::Member;

/// Shares nearer than this to a whole number are that number: they come from halving an interval.
const TOLERANCE: f64 = 1e-7;

/// For each member its share, and the whole number of partitions it is to own: its share rounded up or down.
pub(super) struct Targets {
    shares: Vec<f64>,
    counts: Vec<usize>,
}

impl Targets {
    pub(super) fn new(arrangement: &Arrangement, members: &[Member]) -> Self {
        let weights: Vec<f64> = members.iter().map(|member| f64::from(member.capacity.weight())).collect();
        let shares = shares(arrangement, &weights);
        let counts = rounded(arrangement, &shares);
        Self { shares, counts }
    }

    /// What each member would own if partitions could be divided.
    pub(super) fn shares(&self) -> &[f64] {
        &self.shares
    }

    /// What each member is to own; together Q.
    pub(super) fn counts(&self) -> &[usize] {
        &self.counts
    }
}

/// Raises a common level (partitions per weight) until all partitions are given out; nodes and zones stop at their limits.
fn shares(arrangement: &Arrangement, weights: &[f64]) -> Vec<f64> {
    let partitions = arrangement.partitions() as f64;
    let node_max = partitions / arrangement.n() as f64;
    let zone_max = node_max * arrangement.zone_share_max() as f64;
    let mut members_by_zone = vec![Vec::new(); weights.len()];
    for (member, zone) in arrangement.zones().iter().enumerate() {
        members_by_zone[usize::from(*zone)].push(member);
    }
    let in_zone =
        |zone: &[usize], level: f64| zone.iter().map(|member| (weights[*member] * level).min(node_max)).sum::<f64>();
    let in_all = |level: f64| members_by_zone.iter().map(|zone| in_zone(zone, level).min(zone_max)).sum::<f64>();
    let level = lowest_level(partitions, in_all);
    let mut shares = vec![0.0; weights.len()];
    for zone in &members_by_zone {
        let level =
            if zone_max < in_zone(zone, level) { lowest_level(zone_max, |level| in_zone(zone, level)) } else { level };
        for member in zone {
            let share = (weights[*member] * level).min(node_max);
            let whole = share.round();
            shares[*member] = if 1.0 <= whole && (share - whole).abs() < TOLERANCE { whole } else { share };
        }
    }
    shares
}

/// The lowest level at which a rising function reaches `wanted`, by halving; the highest level tried if it never does.
fn lowest_level(wanted: f64, reached: impl Fn(f64) -> f64) -> f64 {
    // Weights are at least 1, so at a level of Q every node is at its limit.
    let (mut low, mut high) = (0.0, 65_536.0);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if reached(middle) < wanted { low = middle } else { high = middle }
    }
    high
}

/// Rounds down, then hands out what is left: first to members that own more than that already, so that it need not move; then
/// by the greatest remainder. The limits of nodes and zones are kept as whole numbers for as long as they can be.
fn rounded(arrangement: &Arrangement, shares: &[f64]) -> Vec<usize> {
    let (partitions, n) = (arrangement.partitions(), arrangement.n());
    let owned = arrangement.owned_before();
    let mut counts: Vec<usize> = shares.iter().map(|share| share.floor() as usize).collect();
    let mut in_zone = vec![0; shares.len()];
    for (member, zone) in arrangement.zones().iter().enumerate() {
        in_zone[usize::from(*zone)] += counts[member];
    }
    let mut left = partitions.saturating_sub(counts.iter().sum());
    let mut candidates: Vec<usize> = (0..shares.len()).filter(|member| 0.0 < shares[*member].fract()).collect();
    candidates.sort_by(|one, other| {
        let key = |member: usize| (owned[member] <= counts[member], -shares[member].fract());
        key(*one).partial_cmp(&key(*other)).expect("shares are finite").then(one.cmp(other))
    });
    let zone_limit = arrangement.zone_share_max() * partitions;
    let limits =
        [(partitions / n, zone_limit / n), (partitions.div_ceil(n), zone_limit.div_ceil(n)), (usize::MAX, usize::MAX)];
    for (node_max, zone_max) in limits {
        candidates.retain(|member| {
            let zone = usize::from(arrangement.zones()[*member]);
            let given = 0 < left && counts[*member] < node_max && in_zone[zone] < zone_max;
            if given {
                (left, counts[*member], in_zone[zone]) = (left - 1, counts[*member] + 1, in_zone[zone] + 1);
            }
            !given
        });
    }
    assert_eq!(left, 0, "shares add up to Q, so their remainders add up to what rounding down left over");
    counts
}
