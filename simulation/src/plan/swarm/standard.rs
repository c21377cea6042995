//! Plans of one size, to measure the simulator by.

use super::super::hints::HintPlan;
use super::super::load::{Action, ClientPlan, Get, Put, Step, Whom};
use super::super::span::Span;
use super::super::{Carrier, ClusterPlan, DiskPlan, NetworkPlan, Plan};
use super::{Habits, faults};
use crate::choices::Choices;
use crate::delay::{Delay, Shape};
use crate::plan::load::Asked;

impl Plan {
    /// The standard run: five nodes, 1,000 operations in about 60 simulated seconds, and a fault of every kind.
    pub fn standard(seed: u64) -> Self {
        let mut plan = quiet(seed, 5);
        plan.cluster.keys = 40;
        plan.cluster.core_without = vec![2];
        plan.network.delay = exponential(500);
        let think = Delay { shape: Shape::Uniform, median: Span::from_millis(590) };
        let mut choices = Choices::new(seed);
        let habits = Habits {
            clients: 10,
            steps: 100,
            keys: plan.cluster.keys,
            n: plan.cluster.n,
            mix: [4, 2, 2, 4, 1, 1, 1, 1, 0],
            think,
            within: (Span::from_millis(100), Span::from_millis(500)),
            own_quorums: false,
            sloppy: 500,
            skewed: true,
            bytes: &[0, 10, 100],
            expiring: 0,
            crowd: 0,
        };
        plan.clients = habits.clients(&mut choices);
        let (between, lasting) = (Span::from_millis(1_800), Span::from_millis(300));
        let [between, lasting] = [between, lasting].map(|median| Delay { shape: Shape::Uniform, median });
        plan.faults = faults::draw_all(&plan, &mut choices.stream("fault plan"), between, lasting, 1);
        plan
    }

    /// A light load on this many nodes: one read or write every five seconds, and no fault.
    pub fn trickle(seed: u64, nodes: u32, seconds: u64) -> Self {
        let mut plan = quiet(seed, nodes);
        let step = |index: u64| {
            let put = Put { key: index as usize % plan.cluster.keys, ..Put::default() };
            let get = Get { key: put.key, ..Get::default() };
            let action = if index.is_multiple_of(2) { Action::Update(put) } else { Action::Get(get) };
            Step {
                after: Span::from_millis(5_000),
                at: Span::default(),
                within: Span::from_millis(1_000),
                ask: Whom::Best,
                sloppy: false,
                action,
            }
        };
        plan.clients = vec![ClientPlan { starts: Span::default(), steps: (0..seconds / 5).map(step).collect() }];
        plan
    }
}

/// A cluster without load or faults.
fn quiet(seed: u64, nodes: u32) -> Plan {
    let cluster = ClusterPlan {
        nodes,
        shards: 1,
        n: 3,
        r: 2,
        w: 2,
        partitions: nodes.next_power_of_two().max(8),
        durability: Asked::Buffered,
        keys: 10,
        core_without: Vec::new(),
        core_gray: None,
        hints: HintPlan::default(),
        sweeps: true,
        transfer_page: None,
        members: None,
        zones: None,
        protocols: Vec::new(),
    };
    Plan {
        seed,
        cluster,
        network: NetworkPlan { carrier: Carrier::Streams, delay: exponential(200), detection: exponential(5_000) },
        disk: DiskPlan {
            write: exponential(50),
            completion: exponential(20),
            sync: exponential(1_000),
            background_sync: Span::from_millis(5_000),
        },
        faults: Vec::new(),
        clients: Vec::new(),
    }
}

const fn exponential(median_micros: u64) -> Delay {
    Delay { shape: Shape::Exponential, median: Span::from_micros(median_micros) }
}
