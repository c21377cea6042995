//! Placement against what it promises, over random clusters and random sequences of changes; and preference lists against a
//! dumb model of the walk.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use quorate_ring::{Capacity, Member, NodeId, PartitionCount, PartitionId, ReplicaKind, Ring, ZoneName, claim};

fn node(number: u32) -> NodeId {
    NodeId::new(number).expect("numbered from 1")
}

fn member(number: u32, zone: Option<u32>, weight: u32) -> Member {
    let zone = zone.map(|zone| ZoneName::new(&format!("z{zone}")).expect("valid"));
    Member { node: node(number), zone, capacity: Capacity::new(weight).expect("not 0") }
}

/// Zones as the ring counts them: members without one are each their own.
fn zone_key(member: &Member) -> (Option<&ZoneName>, u32) {
    (member.zone.as_ref(), if member.zone.is_none() { member.node.number() } else { 0 })
}

/// The smallest c for which the zones, each giving at most c of these nodes, have n.
fn share_max(n: usize, members: &[&Member]) -> usize {
    let mut zones: BTreeMap<_, usize> = BTreeMap::new();
    for member in members {
        *zones.entry(zone_key(member)).or_default() += 1;
    }
    (1..).find(|share| n <= zones.values().map(|nodes| nodes.min(share)).sum()).expect("there are n members")
}

fn owning(ring: &Ring) -> Vec<&Member> {
    let owners: BTreeSet<u16> = ring.owners().iter().copied().collect();
    owners.into_iter().map(|owner| &ring.members()[usize::from(owner)]).collect()
}

/// The preference list as its description says it, without regard to cost.
fn walk_model(ring: &Ring, partition: PartitionId) -> Vec<NodeId> {
    let n = usize::from(ring.replicas());
    let share_max = share_max(n, &owning(ring));
    let mut met: Vec<&Member> = Vec::new();
    for owner in ring.owners().iter().cycle().skip(partition.index()).take(ring.owners().len()) {
        let owner = &ring.members()[usize::from(*owner)];
        if !met.contains(&owner) {
            met.push(owner);
        }
    }
    let mut list: Vec<&Member> = Vec::new();
    for candidate in &met {
        let in_zone = list.iter().filter(|other| zone_key(other) == zone_key(candidate)).count();
        if list.len() < n && in_zone < share_max {
            list.push(candidate);
        }
    }
    let rest: Vec<&Member> = met.into_iter().chain(ring.members()).collect();
    for candidate in rest {
        if !list.contains(&candidate) {
            list.push(candidate);
        }
    }
    list.into_iter().map(|member| member.node).collect()
}

/// Fair shares by fixing, again and again, what is over its limit at the common level.
fn shares_model(partitions: f64, n: f64, members: &[Member]) -> Vec<f64> {
    let zone_max = partitions / n * share_max(n as usize, &members.iter().collect::<Vec<_>>()) as f64;
    let mut zones: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        zones.entry(zone_key(member)).or_default().push(index);
    }
    let zones: Vec<Vec<usize>> = zones.into_values().collect();
    let weight = |index: &usize| f64::from(members[*index].capacity.weight());
    let node_max = partitions / n;
    let capped = |all: &[usize], total: f64| {
        let mut fixed: Vec<usize> = Vec::new();
        loop {
            let free: Vec<usize> = all.iter().copied().filter(|index| !fixed.contains(index)).collect();
            let level = (total - fixed.len() as f64 * node_max) / free.iter().map(weight).sum::<f64>();
            let over: Vec<usize> =
                free.iter().copied().filter(|index| node_max < weight(index) * level - 1e-9).collect();
            if over.is_empty() {
                let share = |index: usize| if fixed.contains(&index) { node_max } else { weight(&index) * level };
                return all.iter().map(|index| (*index, share(*index))).collect::<Vec<(usize, f64)>>();
            }
            fixed.extend(over);
        }
    };
    let mut full: Vec<usize> = Vec::new();
    let mut shares = vec![0.0; members.len()];
    loop {
        let free: Vec<usize> = (0..zones.len()).filter(|zone| !full.contains(zone)).collect();
        let free_members: Vec<usize> = free.iter().flat_map(|zone| zones[*zone].clone()).collect();
        for (index, share) in capped(&free_members, partitions - full.len() as f64 * zone_max) {
            shares[index] = share;
        }
        let in_zone = |zone: &usize| zones[*zone].iter().map(|index| shares[*index]).sum::<f64>();
        let over: Vec<usize> = free.into_iter().filter(|zone| zone_max + 1e-9 < in_zone(zone)).collect();
        if over.is_empty() {
            return shares;
        }
        for zone in over {
            for (index, share) in capped(&zones[zone], zone_max) {
                shares[index] = share;
            }
            full.push(zone);
        }
    }
}

#[derive(Clone, Debug)]
struct Cluster {
    partitions: PartitionCount,
    n: u8,
    /// The members after each change.
    steps: Vec<Vec<Member>>,
}

/// One change of the members.
#[derive(Clone, Debug)]
enum Change {
    Join { count: u32 },
    Leave { index: usize, count: usize },
    Replace { index: usize },
    Weight { index: usize, weight: u32 },
    Zone { index: usize, zone: Option<u32> },
}

fn changes(zones: u32, weights: bool) -> impl Strategy<Value = Change> {
    let weight_max = if weights { 400_u32 } else { 100 };
    prop_oneof![
        3 => (1..4_u32).prop_map(|count| Change::Join { count }),
        3 => (any::<usize>(), 1..4_usize).prop_map(|(index, count)| Change::Leave { index, count }),
        2 => any::<usize>().prop_map(|index| Change::Replace { index }),
        1 => (any::<usize>(), 100..=weight_max).prop_map(|(index, weight)| Change::Weight { index, weight }),
        1 => (any::<usize>(), 0..=zones).prop_map(|(index, zone)| Change::Zone { index, zone: zone.checked_sub(1) }),
    ]
}

/// Applies a change; new members get new numbers and the next zone in turn.
fn change(members: &[Member], change: &Change, n: usize, zones: u32, next: &mut u32) -> Vec<Member> {
    let mut members = members.to_vec();
    let mut fresh = || {
        *next += 1;
        member(*next, next.checked_rem(zones), 100)
    };
    match *change {
        Change::Join { count } => members.extend((0..count).map(|_| fresh())),
        Change::Leave { index, count } => {
            for _ in 0..count.min(members.len() - n) {
                members.remove(index % members.len());
            }
        }
        Change::Replace { index } => {
            let index = index % members.len();
            let zone = members[index].zone.clone();
            members[index] = Member { zone, ..fresh() };
        }
        Change::Weight { index, weight } => {
            let index = index % members.len();
            members[index].capacity = Capacity::new(weight).expect("not 0");
        }
        Change::Zone { index, zone } => {
            let index = index % members.len();
            let Member { node, capacity, .. } = members[index].clone();
            members[index] = member(node.number(), zone, capacity.weight());
        }
    }
    members
}

/// Clusters of up to about 40 nodes, with or without zones and weights, that change up to 8 times (several at once).
fn clusters() -> impl Strategy<Value = Cluster> {
    let shape = (3..=9_u32, 1..=5_u8, 0..=32_usize, prop_oneof![Just(0), 2..=6_u32], any::<bool>());
    shape.prop_flat_map(|(bits, n, more, zones, weights)| {
        let n = n.min(1 << bits.min(3));
        let size = usize::from(n) + more.min((1 << bits) / 4);
        let weight_max = if weights { 400_u32 } else { 100 };
        let members = prop::collection::vec(100..=weight_max, size);
        let steps = prop::collection::vec(prop::collection::vec(changes(zones, weights), 1..=2), 0..8);
        (members, steps).prop_map(move |(weights, changes)| {
            let numbered = (1..).zip(weights);
            let mut members: Vec<Member> = numbered
                .map(|(number, weight): (u32, u32)| member(number, number.checked_rem(zones), weight))
                .collect();
            let mut next = members.len() as u32;
            let mut steps = vec![members.clone()];
            for together in &changes {
                for one in together {
                    members = change(&members, one, usize::from(n), zones, &mut next);
                }
                steps.push(members.clone());
            }
            Cluster { partitions: PartitionCount::new(1 << bits).expect("a power of two"), n, steps }
        })
    })
}

/// Plans all steps, showing each plan with the ring before it.
fn for_each_plan(cluster: &Cluster, mut check: impl FnMut(Option<&Ring>, &claim::Plan)) {
    let mut previous: Option<Ring> = None;
    for members in &cluster.steps {
        let plan =
            claim::plan(previous.as_ref(), cluster.partitions, cluster.n, members.clone()).expect("enough members");
        check(previous.as_ref(), &plan);
        previous = Some(plan.ring);
    }
}

fn index_counts(ring: &Ring) -> Vec<usize> {
    let mut counts = vec![0; ring.members().len()];
    for owner in ring.owners() {
        counts[usize::from(*owner)] += 1;
    }
    counts
}

/// What a ring must be, whatever came before it.
fn check_ring(ring: &Ring) {
    let n = usize::from(ring.replicas());
    let owning = owning(ring);
    assert!(n <= owning.len());
    let share_max = share_max(n, &owning);
    for partition in ring.partitions().partitions() {
        let primaries: BTreeSet<NodeId> = ring.primaries(partition).collect();
        assert_eq!(primaries.len(), n, "distinct nodes");
        let mut zones: BTreeMap<_, usize> = BTreeMap::new();
        for primary in primaries {
            *zones.entry(zone_key(ring.member(primary).expect("a member"))).or_default() += 1;
        }
        assert!(zones.values().all(|replicas| *replicas <= share_max), "zones as distinct as they can be");
    }
}

/// Each member owns its share, rounded up or down.
fn check_balance(plan: &claim::Plan) {
    let ring = &plan.ring;
    let shares = shares_model(f64::from(ring.partitions().get()), f64::from(ring.replicas()), ring.members());
    for ((count, share), member) in index_counts(ring).into_iter().zip(shares).zip(ring.members()) {
        let (low, high) = ((share - 1e-6).floor() as usize, (share + 1e-6).ceil() as usize);
        assert!((low..=high).contains(&count), "{member:?} owns {count}, its share is {share}");
    }
}

/// The figures of a plan are those of its ring.
fn check_figures(previous: Option<&Ring>, plan: &claim::Plan) {
    let ring = &plan.ring;
    let n = usize::from(ring.replicas());
    if plan.crowded_nodes + plan.crowded_zones == 0 {
        for (member, count) in ring.members().iter().zip(index_counts(ring)) {
            assert_eq!(ring.partitions_of(member.node).count(), n * count, "N replicas for each partition owned");
        }
        assert!(plan.moved_replicas_min <= plan.moved_replicas);
    }
    assert!(0.0 < plan.balance && plan.balance < 1.0 + 1e-9);
    let Some(previous) = previous else {
        assert_eq!((plan.moved_replicas, plan.moved_owners), (0, 0));
        return;
    };
    let gained = |member: &Member| {
        let held: BTreeSet<PartitionId> = previous.partitions_of(member.node).collect();
        ring.partitions_of(member.node).filter(|partition| !held.contains(partition)).count()
    };
    assert_eq!(plan.moved_replicas, ring.members().iter().map(gained).sum::<usize>());
    assert_eq!(plan.moved_replicas, claim::gains(previous, ring).count());
}

/// A ring nobody planned: any owners at all.
fn any_ring() -> impl Strategy<Value = Ring> {
    let members = prop::collection::vec(prop::option::of(0..4_u32), 1..24);
    (members, 1..=6_u8, 3..=7_u32).prop_flat_map(|(zones, n, bits)| {
        let members: Vec<Member> = (1..).zip(zones).map(|(number, zone)| member(number, zone, 100)).collect();
        let count = members.len() as u16;
        prop::collection::vec(0..count, 1 << bits).prop_map(move |owners| {
            let partitions = PartitionCount::new(1 << bits).expect("a power of two");
            let distinct = owners.iter().collect::<BTreeSet<_>>().len() as u8;
            Ring::new(partitions, n.min(distinct), members.clone(), owners).expect("as many owners as n")
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_keeps_nodes_and_zones_distinct_and_is_balanced(cluster in clusters()) {
        for_each_plan(&cluster, |previous, plan| {
            check_ring(&plan.ring);
            check_balance(plan);
            check_figures(previous, plan);
        });
    }

    #[test]
    fn same_inputs_give_the_same_ring_and_same_members_move_nothing(cluster in clusters()) {
        for_each_plan(&cluster, |previous, plan| {
            let reversed: Vec<Member> = plan.ring.members().iter().rev().cloned().collect();
            let again = claim::plan(previous, cluster.partitions, cluster.n, reversed.clone()).expect("as before");
            assert_eq!(again.ring, plan.ring);
            assert_eq!(again.ring.fingerprint(), plan.ring.fingerprint());
            let next = claim::plan(Some(&plan.ring), cluster.partitions, cluster.n, reversed).expect("as before");
            assert_eq!((next.moved_owners, next.moved_replicas, next.ring), (0, 0, plan.ring.clone()));
        });
    }

    #[test]
    fn preference_list_is_the_walk(ring in any_ring()) {
        check_ring(&ring);
        for partition in ring.partitions().partitions() {
            let (list, model) = (ring.preference_list(partition), walk_model(&ring, partition));
            let n = usize::from(ring.replicas());
            assert_eq!(list.iter().map(|replica| replica.node).collect::<Vec<_>>(), model);
            assert!(list.iter().enumerate().all(|(index, replica)| (index < n) == (replica.kind == ReplicaKind::Primary)));
            assert_eq!(list.primaries().collect::<Vec<_>>(), model[..n]);
            assert_eq!(list.fallbacks().collect::<Vec<_>>(), model[n..]);
            for (index, node) in model.iter().enumerate() {
                assert_eq!(list.position_of(*node), Some(index));
                assert_eq!(ring.is_primary(*node, partition), index < n);
            }
            assert_eq!(list.position_of(NodeId::new(u32::MAX).expect("not 0")), None);
        }
    }
}

/// Whether there is room to space owners: no node or zone needs nearly every place it could have.
fn is_roomy(cluster: &Cluster, members: &[Member]) -> bool {
    let (partitions, n) = (f64::from(cluster.partitions.get()), f64::from(cluster.n));
    let shares = shares_model(partitions, n, members);
    let mut zones: BTreeMap<_, f64> = BTreeMap::new();
    for (member, share) in members.iter().zip(&shares) {
        *zones.entry(zone_key(member)).or_default() += share;
    }
    let zone_max = partitions / n * share_max(n as usize, &members.iter().collect::<Vec<_>>()) as f64;
    let fullest_node = shares.into_iter().fold(0.0, f64::max) / (partitions / n);
    let fullest_zone = zones.into_values().fold(0.0, f64::max) / zone_max;
    64.0 <= partitions && fullest_node < 0.6 && fullest_zone < 0.8
}

#[test]
fn where_there_is_room_owners_are_spaced_and_little_more_than_the_least_moves() {
    let mut runner = TestRunner::deterministic();
    let (mut moved, mut least, mut plans, mut crowded) = (0, 0, 0, 0);
    for _ in 0..100 {
        let cluster = clusters().new_tree(&mut runner).expect("no filters").current();
        for_each_plan(&cluster, |previous, plan| {
            let before = previous.map_or(&[][..], Ring::members);
            if !is_roomy(&cluster, plan.ring.members()) || previous.is_some() && !is_roomy(&cluster, before) {
                return;
            }
            plans += 1;
            crowded += usize::from(plan.crowded_nodes + plan.crowded_zones != 0);
            (moved, least) = (moved + plan.moved_replicas, least + plan.moved_replicas_min);
        });
    }
    println!("{plans} plans, {crowded} crowded, {moved} replicas moved where {least} had to");
    assert!(100 < plans, "the test has seen roomy clusters");
    assert_eq!(crowded, 0);
    assert!(moved * 100 <= least * 105, "{moved} moved, {least} had to");
}

/// The ring of so many equal nodes, and after one joined and another left.
fn equal(nodes: u32, count: u32) -> [claim::Plan; 3] {
    let partitions = PartitionCount::new(count).expect("a power of two");
    let members: Vec<Member> = (1..=nodes + 1).map(|number| member(number, None, 100)).collect();
    let (all, rest) = (members.clone(), members[1..].to_vec());
    let first = claim::plan(None, partitions, 3, members[..nodes as usize].to_vec()).expect("enough members");
    let join = claim::plan(Some(&first.ring), partitions, 3, all).expect("enough members");
    let leave = claim::plan(Some(&join.ring), partitions, 3, rest).expect("enough members");
    [first, join, leave]
}

#[test]
fn equal_nodes_meet_the_goals_of_balance_and_movement() {
    for (nodes, count) in [(3, 1024), (5, 1024), (10, 1024), (30, 2048), (30, 4096), (100, 16_384)] {
        let [first, join, leave] = equal(nodes, count);
        assert!(0.985 <= first.balance, "{nodes} nodes: balance {}", first.balance);
        let (joined, fair) = (join.moved_fraction(), 1.0 / f64::from(nodes + 1));
        assert!(joined <= 1.01 * fair, "{nodes} nodes: a join moves {joined}, fair is {fair}");
        let (left, fewest) = (leave.moved_replicas, leave.moved_replicas_min);
        assert!(left * 100 <= fewest * 105, "{nodes} nodes: a leave moves {left}, least is {fewest}");
        assert!(nodes == 3 || first.crowded_nodes + join.crowded_nodes + leave.crowded_nodes == 0);
    }
}

#[test]
fn replaced_node_hands_over_its_places_and_nothing_else_moves() {
    let before: Vec<Member> = (1..=12).map(|number| member(number, Some(number % 3), 100)).collect();
    let mut after = before.clone();
    after[4] = member(99, Some(5 % 3), 100);
    let first = claim::plan(None, PartitionCount::default(), 3, before).expect("enough members");
    let plan = claim::plan(Some(&first.ring), PartitionCount::default(), 3, after).expect("enough members");
    assert!(plan.moved_replicas <= plan.moved_replicas_min);
    assert!(claim::gains(&first.ring, &plan.ring).all(|(_, gainer)| gainer == node(99)));
}

#[test]
fn number_of_partitions_is_fixed() {
    let members: Vec<Member> = (1..=3).map(|number| member(number, None, 100)).collect();
    let first = claim::plan(None, PartitionCount::default(), 3, members.clone()).expect("enough members");
    let wanted = PartitionCount::new(8).expect("a power of two");
    let refused = claim::plan(Some(&first.ring), wanted, 3, members).expect_err("another Q");
    assert_eq!(refused, claim::InvalidPlan::PartitionsChanged { previous: PartitionCount::default(), wanted });
}

#[test]
fn n_can_change_between_rings() {
    let members: Vec<Member> = (1..=7).map(|number| member(number, None, 100)).collect();
    let first = claim::plan(None, PartitionCount::default(), 2, members.clone()).expect("enough members");
    let plan = claim::plan(Some(&first.ring), PartitionCount::default(), 3, members).expect("enough members");
    check_ring(&plan.ring);
    assert_eq!((plan.crowded_nodes, plan.ring.replicas()), (0, 3));
}

#[test]
fn plans_are_the_same_in_every_release() {
    let [first, join, leave] = equal(5, 1024);
    let fingerprints = [first, join, leave].map(|plan| format!("{:016x}", plan.ring.fingerprint()));
    assert_eq!(fingerprints, ["fd9989e635ed65c3", "9079e5c16bb6a46c", "52b11c4392205afb"]);
}

#[test]
fn rings_that_cannot_be_are_refused_with_the_reason() {
    let partitions = PartitionCount::new(8).expect("a power of two");
    let members = |numbers: &[u32]| numbers.iter().map(|number| member(*number, None, 100)).collect::<Vec<_>>();
    let refused = |n, numbers: &[u32], owners: &[u16]| {
        Ring::new(partitions, n, members(numbers), owners.to_vec()).expect_err("invalid").to_string()
    };
    assert!(refused(0, &[1], &[0; 8]).contains("n = 0"));
    assert!(refused(17, &[1], &[0; 8]).contains("n = 17"));
    assert!(refused(2, &[1], &[0; 8]).contains("1 members cannot hold n = 2"));
    assert!(refused(1, &[2, 1], &[0; 8]).contains("n1"));
    assert!(refused(1, &[2, 2], &[0; 8]).contains("n2"));
    assert!(refused(1, &[1], &[0; 7]).contains("7 owners were given for 8"));
    assert!(refused(1, &[1], &[0, 0, 1, 0, 0, 0, 0, 0]).contains("partition p2"));
    assert!(refused(2, &[1, 2], &[0; 8]).contains("only 1 members own"));
}
