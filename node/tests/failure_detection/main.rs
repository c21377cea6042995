//! What the failure detector promises, shown by clusters of it in virtual time.

mod cluster;

use std::time::Duration;

use cluster::{Cluster, node_id};
use proptest::prelude::*;
use quorate_node::Time;
use quorate_node::limits::{SWIM_DATAGRAM_BYTES_MAX, SWIM_NODES_MAX};
use quorate_node::membership::{Detector, Life, Output, Pace, RefusedDatagram, Standing};

fn periods(count: u32) -> Duration {
    Pace::default().probe_period() * count
}

/// Whatever the size: somebody probes it in vain, it stays suspected, and word goes around.
fn detection_bound() -> Duration {
    periods(20) + Pace::default().suspicion()
}

#[test]
fn strangers_that_call_one_node_find_each_other() {
    let mut cluster = Cluster::of_strangers(16, 1);
    (1..16).for_each(|node| cluster.announce(node, 0));
    assert!(cluster.run_until(periods(30), Cluster::all_alive).is_some());
}

#[test]
fn a_call_that_was_lost_is_repeated() {
    let mut cluster = Cluster::of_strangers(3, 2);
    cluster.loss_percent = 100;
    (1..3).for_each(|node| cluster.announce(node, 0));
    cluster.run_for(periods(5));
    cluster.loss_percent = 0;
    assert!(cluster.run_until(periods(60), Cluster::all_alive).is_some());
}

#[test]
fn crashed_node_is_found_by_all_within_a_bound() {
    for (size, seed) in [(3, 1), (16, 2), (64, 3)] {
        let mut cluster = Cluster::new(size, seed);
        cluster.crash(1);
        let found = cluster.run_until(detection_bound(), |cluster| cluster.all_think(1, Standing::Down));
        assert!(found.is_some(), "{size} nodes");
        assert!(
            cluster.changes.iter().all(|change| change.node == 1),
            "nobody else is suspected: {:?}",
            cluster.changes
        );
    }
}

#[test]
fn a_node_that_returns_in_a_new_life_is_alive_for_all_again() {
    for down_time in [periods(1), periods(60)] {
        let mut cluster = Cluster::new(16, 4);
        cluster.crash(5);
        cluster.run_for(down_time);
        cluster.start(5);
        cluster.announce(5, 0);
        cluster.run_for(periods(30));
        assert!(cluster.all_alive(), "after {down_time:?}");
        assert_eq!(cluster.detector(5).identity().life, Life::new(2));
    }
}

#[test]
fn a_node_that_lost_count_of_its_lives_is_told_and_alive_again() {
    for down_time in [periods(1), periods(60)] {
        let mut cluster = Cluster::new(16, 14);
        for _ in 0..3 {
            cluster.crash(5);
            cluster.run_for(periods(1));
            cluster.start(5);
            cluster.announce(5, 0);
            cluster.run_for(periods(30));
        }
        cluster.crash(5);
        cluster.run_for(down_time);
        cluster.forget_lives(5);
        cluster.start(5);
        (0..16).filter(|node| *node != 5).for_each(|node| cluster.announce(node, 5));
        cluster.forget();
        cluster.run_for(periods(30));
        assert!(cluster.all_alive(), "after {down_time:?}");
        let name = cluster.detector(5).identity();
        assert_eq!((name.life, name.renewals), (Life::new(4), 1), "it went on from its last name");
        assert!(cluster.datagrams < 16 * 30 * 20, "{} datagrams: nobody goes on telling it", cluster.datagrams);
    }
}

#[test]
fn a_short_pause_is_refuted_without_a_verdict() {
    let mut cluster = Cluster::new(16, 5);
    cluster.pause(3, periods(3));
    cluster.run_for(periods(20));
    assert!(cluster.all_alive());
    assert_eq!(cluster.count(Standing::Down), 0);
    assert_eq!(cluster.detector(3).identity().renewals, 0);
}

#[test]
fn a_node_that_stood_still_for_long_comes_back_by_itself_and_blames_nobody() {
    let mut cluster = Cluster::new(16, 6);
    cluster.pause(3, periods(60));
    cluster.run_for(periods(50));
    assert!(cluster.all_think(3, Standing::Down));
    cluster.run_for(periods(40));
    assert!(cluster.all_alive());
    assert!(1 <= cluster.detector(3).identity().renewals);
    assert!(cluster.changes.iter().all(|change| change.observer != 3), "it was not the others that stood still");
}

#[test]
fn slow_node_is_not_declared_down() {
    let mut cluster = Cluster::new(16, 11);
    cluster.slow_down(4, Duration::from_millis(600));
    cluster.run_for(periods(300));
    assert_eq!(cluster.count(Standing::Down), 0);
}

#[test]
fn broken_link_between_two_nodes_is_no_failure() {
    for both_ways in [false, true] {
        let mut cluster = Cluster::new(5, 7);
        cluster.cut(0, 1);
        if both_ways {
            cluster.cut(1, 0);
        }
        cluster.run_for(periods(600));
        assert_eq!(cluster.count(Standing::Down), 0, "both ways: {both_ways}");
        assert_eq!(cluster.count(Standing::Suspected), 0, "both ways: {both_ways}");
    }
}

#[test]
fn node_that_hears_nobody_does_not_make_the_others_flap() {
    let mut cluster = Cluster::new(8, 8);
    (1..8).for_each(|source| cluster.cut(source, 0));
    cluster.run_for(periods(300));
    let among_others = cluster.changes.iter().filter(|change| change.observer != 0 && change.node != 0);
    assert_eq!(among_others.filter(|change| change.standing == Standing::Down).count(), 0);
    let of_deaf = cluster.changes.iter().filter(|change| change.observer != 0 && change.standing == Standing::Down);
    assert!(of_deaf.count() <= 7 * 2, "it is down for each of them, once or so");
    cluster.heal();
    cluster.run_for(periods(60));
    assert!(cluster.all_alive());
}

#[test]
fn two_halves_find_each_other_after_a_partition() {
    for size in [2, 10] {
        let mut cluster = Cluster::new(size, 9);
        for (left, right) in (0..size / 2).flat_map(|left| (size / 2..size).map(move |right| (left, right))) {
            cluster.cut(left, right);
            cluster.cut(right, left);
        }
        cluster.run_for(periods(120));
        assert!(!cluster.all_alive());
        cluster.heal();
        assert!(cluster.run_until(periods(120), Cluster::all_alive).is_some(), "{size} nodes");
    }
}

#[test]
fn first_detection_takes_less_than_three_periods_in_the_median_at_100_nodes() {
    let mut times: Vec<Duration> = (0..15)
        .map(|seed| {
            let mut cluster = Cluster::new(100, seed);
            let crashed_at = cluster.now;
            cluster.crash(0);
            cluster.run_for(periods(12));
            cluster.changes.first().expect("somebody noticed").at.since(crashed_at)
        })
        .collect();
    times.sort_unstable();
    assert!(times[times.len() / 2] < periods(3), "{times:?}");
}

#[test]
fn traffic_of_a_node_does_not_grow_with_the_cluster() {
    let bytes_a_period = |size: usize| {
        let mut cluster = Cluster::new(size, 10);
        cluster.run_for(periods(30));
        cluster.forget();
        cluster.run_for(periods(60));
        cluster.bytes / size as u64 / 60
    };
    let traffic = [16, 64, 256].map(bytes_a_period);
    assert!(traffic[2] < traffic[0] * 3 / 2, "{traffic:?}");
}

#[test]
fn the_same_seed_is_the_same_history() {
    let run = |seed| {
        let mut cluster = Cluster::new(12, seed);
        cluster.loss_percent = 20;
        cluster.pause(1, periods(15));
        cluster.crash(2);
        cluster.run_for(periods(40));
        cluster.start(2);
        cluster.announce(2, 3);
        cluster.run_for(periods(40));
        assert!(0 < cluster.count(Standing::Down) && 0 < cluster.count(Standing::Suspected));
        cluster.history()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// A detector that knows some others, and datagrams that they would send to it.
fn detector_and_datagrams() -> (Detector, Vec<bytes::Bytes>) {
    let [own, other] = [node_id(0), node_id(1)];
    let mut detectors = [own, other].map(|node| Detector::new(Time::default(), node, Life::new(1), 1, Pace::default()));
    for node in 2..40 {
        detectors[1].introduce(Time::default(), node_id(node), Life::new(1));
    }
    detectors[0].introduce(Time::default(), other, Life::new(1));
    detectors[1].introduce(Time::default(), own, Life::new(1));
    let mut datagrams = Vec::new();
    for _ in 0..150 {
        let now = detectors[1].next_deadline();
        detectors[0].announce(now, other);
        while let Some(output) = detectors[0].poll_output() {
            if let Output::Send { datagram, .. } = output {
                detectors[1].handle_datagram(now, own, &datagram).expect("well formed");
            }
        }
        detectors[1].handle_time(now);
        while let Some(output) = detectors[1].poll_output() {
            match output {
                Output::Send { target, datagram } if target == own => datagrams.push(datagram),
                _ => {}
            }
        }
    }
    let [detector, _] = detectors;
    assert!(100 < datagrams.len(), "there is something to be garbled");
    (detector, datagrams)
}

#[test]
fn a_call_of_one_node_too_many_or_under_another_name_is_refused() {
    let now = Time::default();
    let mut detector = Detector::new(now, node_id(0), Life::new(1), 1, Pace::default());
    let stranger = node_id(SWIM_NODES_MAX + 1);
    let mut caller = Detector::new(now, stranger, Life::new(1), 1, Pace::default());
    caller.announce(now, node_id(0));
    let Some(Output::Send { datagram, .. }) = caller.poll_output() else { panic!("it calls") };
    let refused = detector.handle_datagram(now, node_id(1), &datagram);
    assert!(matches!(refused, Err(RefusedDatagram::WrongSource { .. })), "{refused:?}");
    for node in 1..=SWIM_NODES_MAX {
        detector.introduce(now, node_id(node), Life::new(1));
    }
    let refused = detector.handle_datagram(now, stranger, &datagram);
    assert!(matches!(refused, Err(RefusedDatagram::TooManyNodes)), "{refused:?}");
    assert_eq!((detector.standing(stranger), detector.standings().len()), (None, SWIM_NODES_MAX));
}

proptest! {
    #[test]
    fn no_bytes_from_outside_make_it_panic(noise in proptest::collection::vec(any::<u8>(), 0..SWIM_DATAGRAM_BYTES_MAX + 2)) {
        let (mut detector, _) = detector_and_datagrams();
        let handled = detector.handle_datagram(Time::default(), node_id(1), &noise);
        prop_assert_eq!(detector.refused(), u64::from(handled.is_err()));
        detector.handle_time(Time::default() + Duration::from_secs(100));
    }

    #[test]
    fn garbled_datagrams_do_not_make_it_panic(which in any::<usize>(), flips in proptest::collection::vec((any::<usize>(), 1_u8..), 0..4), keep in any::<usize>()) {
        let (mut detector, datagrams) = detector_and_datagrams();
        let mut garbled = datagrams[which % datagrams.len()].to_vec();
        for (at, flip) in flips {
            let at = at % garbled.len();
            garbled[at] ^= flip;
        }
        let whole = garbled.len();
        garbled.truncate(keep % (whole * 2));
        let handled = detector.handle_datagram(Time::default(), node_id(1), &garbled);
        prop_assert_eq!(detector.refused(), u64::from(handled.is_err()));
        for seconds in 1..20 {
            detector.handle_time(Time::default() + Duration::from_secs(seconds));
        }
    }

    #[test]
    fn truncated_datagram_is_refused(which in any::<usize>(), keep in any::<usize>()) {
        let (mut detector, datagrams) = detector_and_datagrams();
        while detector.poll_output().is_some() {}
        let datagram = &datagrams[which % datagrams.len()];
        let handled = detector.handle_datagram(Time::default(), node_id(1), &datagram[..keep % datagram.len()]);
        prop_assert!(handled.is_err());
        prop_assert_eq!((detector.refused(), detector.poll_output()), (1, None));
    }
}
