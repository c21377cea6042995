//! What capacity predicts goes by what it is asked: more of everything where it should be more, and the same for the same seed.

use std::num::{NonZeroU32, NonZeroUsize};

use quorate_ring::Quorum;
use quorate_simulation::capacity::times::{Cost, ServiceTimes};
use quorate_simulation::capacity::{
    Arrivals, Distribution, Extent, Hardware, Load, Machines, Prediction, predict, search,
};
use quorate_simulation::plan::span::Span;

const EXTENT: Extent = Extent { seed: 1, requests: 1_000 };

fn hardware(nodes: u32, cores: usize) -> Hardware {
    Hardware {
        nodes,
        quorum: Quorum::new(3, 2, 2).expect("valid"),
        machines: Machines::Own(NonZeroUsize::new(cores).expect("some")),
        shards: u8::try_from(cores).expect("few"),
        network: Span::from_micros(200),
        times: ServiceTimes::default(),
    }
}

fn load(rate: f64, reads: f64) -> Load {
    let distribution = Distribution::Zipfian;
    Load { arrivals: Arrivals::Poisson(rate), reads, value_bytes: 1_000, records: 300, distribution }
}

fn predicted(hardware: &Hardware, load: &Load) -> Prediction {
    predict(hardware, load, EXTENT).expect("it is possible")
}

fn amount(prediction: &Prediction, cost: Cost) -> f64 {
    prediction.amounts[cost as usize]
}

#[test]
fn one_seed_is_one_prediction() {
    let (hardware, load) = (hardware(3, 2), load(3_000.0, 0.5));
    assert_eq!(predicted(&hardware, &load), predicted(&hardware, &load));
    let other = predict(&hardware, &load, Extent { seed: 2, ..EXTENT }).expect("it is possible");
    assert_ne!(predicted(&hardware, &load), other);
}

/// A get asks one other replica, a put two.
#[test]
fn requests_are_what_the_protocol_makes_of_them() {
    let (gets, puts) = (predicted(&hardware(3, 1), &load(500.0, 1.0)), predicted(&hardware(3, 1), &load(500.0, 0.0)));
    let is_near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.1;
    assert!(is_near(amount(&gets, Cost::Read), 2.0), "sent and received: {:?}", gets.amounts);
    assert!(is_near(amount(&gets, Cost::StoreRead), 2.0), "{:?}", gets.amounts);
    assert!(is_near(amount(&puts, Cost::Replicate), 4.0), "sent and received: {:?}", puts.amounts);
    assert!(3.0 <= amount(&puts, Cost::StoreWrite), "and what anti-entropy writes: {:?}", puts.amounts);
}

#[test]
fn busy_cores_are_the_rate_times_the_cost_of_a_request() {
    let (hardware, load) = (hardware(3, 2), load(6_000.0, 0.5));
    let prediction = predicted(&hardware, &load);
    let busy = 6_000.0 * prediction.cpu_micros_nodes / 1e6 / 6.0;
    assert!((prediction.utilisation / busy - 1.0).abs() < 0.1, "{} and {busy}", prediction.utilisation);
    assert!(400 <= prediction.latency_micros.p50, "a request crosses the network twice at least: {prediction:?}");
}

#[test]
fn requests_wait_where_processors_are_busy() {
    let hardware = hardware(3, 1);
    let [calm, busy] = [1_000.0, 9_000.0].map(|rate| predicted(&hardware, &load(rate, 0.5)));
    assert!(calm.utilisation < busy.utilisation && calm.queue < busy.queue, "{calm:?} {busy:?}");
    assert!(calm.latency_micros.p99 < busy.latency_micros.p99, "{calm:?} {busy:?}");
    assert!(busy.cpu_micros_nodes < calm.cpu_micros_nodes, "larger turns cost less for each: {calm:?} {busy:?}");
    assert!(predicted(&hardware, &load(200_000.0, 0.5)).saturated);
}

#[test]
fn who_waits_for_answers_asks_as_fast_as_they_come() {
    let load = |clients| Load { arrivals: Arrivals::Closed(NonZeroU32::new(clients).expect("some")), ..load(1.0, 1.0) };
    let [one, many] = [1, 64].map(|clients| predicted(&hardware(3, 2), &load(clients)));
    let little = 1e6 / one.rate;
    assert!((little / one.latency_micros.p50 as f64 - 1.0).abs() < 0.2, "Little's law with one: {one:?}");
    assert!(5.0 * one.rate < many.rate && !many.saturated, "{one:?} {many:?}");
}

#[test]
fn more_nodes_carry_more_and_as_many_are_found_as_do() {
    let (two_cores, p99) = (hardware(3, 2), Span::from_millis(20));
    let wanted = load(30_000.0, 1.0);
    let (most, _) = search::highest_rate(&two_cores, &wanted, p99, EXTENT).expect("it is possible");
    let (nodes, prediction) = search::least_nodes(&two_cores, &wanted, p99, EXTENT).expect("it is possible");
    assert!(prediction.carries(p99), "{prediction:?}");
    let fair = 3.0 * 30_000.0 / most;
    assert!((fair * 0.6..fair * 1.6).contains(&nodes.into()), "{nodes} nodes, where three carry {most}");
}
